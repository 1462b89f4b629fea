//! A block cache without a limit. The crate is built without any of its own (they are features, and take long to compile), and
//! without one each get asks the store for index, filter and block again: a thousand gets from S3 would take minutes.

use std::{collections::HashMap, sync::Mutex};

use slatedb::db_cache::{CachedEntry, CachedKey, DbCache};
use slatedb::Error;

#[derive(Default)]
pub struct KeptBlocks(Mutex<HashMap<CachedKey, CachedEntry>>);

impl KeptBlocks {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<CachedKey, CachedEntry>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

#[async_trait::async_trait]
impl DbCache for KeptBlocks {
    async fn get_block(&self, key: &CachedKey) -> Result<Option<CachedEntry>, Error> {
        Ok(self.entries().get(key).cloned())
    }
    async fn get_index(&self, key: &CachedKey) -> Result<Option<CachedEntry>, Error> {
        self.get_block(key).await
    }
    async fn get_filter(&self, key: &CachedKey) -> Result<Option<CachedEntry>, Error> {
        self.get_block(key).await
    }
    async fn get_stats(&self, key: &CachedKey) -> Result<Option<CachedEntry>, Error> {
        self.get_block(key).await
    }
    async fn insert(&self, key: CachedKey, value: CachedEntry) {
        self.entries().insert(key, value);
    }
    async fn remove(&self, key: &CachedKey) {
        self.entries().remove(key);
    }
    fn entry_count(&self) -> u64 {
        self.entries().len() as u64
    }
}
