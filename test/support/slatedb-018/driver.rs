//! Drives the real SlateDB 0.18.0 from the command line. One JSON object on stdout; exit 0 ok, 1 error, 2 usage.
//!
//!   slatedb18 scan  URL [PATH] [--reader] [--checkpoint UUID | --latest] [--prefix HEX] [--gets] [get:HEXKEY ...]
//!       rows {key,value,seq,create_ts,expire_ts} in hex; --gets compares a get of every key with the scan
//!   slatedb18 wal   URL [PATH] [--from N]          rows of every WAL object
//!   slatedb18 write URL [PATH] [--flush wal|mem] [--end close|crash|keep:SECONDS] OP ...
//!       put:HEXKEY:HEXVALUE[:TTLMS] | del:HEXKEY | merge:HEXKEY:HEXOPERAND[:TTLMS] | batch:OP,OP,... (put, del, merge)
//!       nput:PREFIX:COUNT[:SIZE[:FIRST[:STEP]]] | seq:N (number of the next write) | snap | unsnap (hold a snapshot, let all go)
//!       flush:wal | flush:mem | checkpoint:all|durable[:NAME] | get:HEXKEY | clock:SECONDS (moves the clock on) | sleep:SECONDS
//!   slatedb18 fence URL [PATH]                     opens (fences everybody else) and leaves without closing
//!   slatedb18 admin URL [PATH] OP ...              one result per operation; none = manifest
//!       manifest[:ID] | manifests | compactions[:ID] | compactions-all | checkpoints[:NAME] | time-of:SEQ
//!       checkpoint[:NAME[:LIFETIMEMS[:SOURCEUUID]]] | refresh:UUID[:LIFETIMEMS] | drop-checkpoint:UUID
//!       clone:TARGET[,SOURCE ...]   SOURCE = PATH[@CHECKPOINT][~FROMHEX~TOHEX], default PATH; several = union; ~ = projection
//!       gc[:MINAGEMS] | compactor:SECONDS | worker:SECONDS | delete-db[:confirm]
//!       submit:{"Tiered":{"segment":[],"sources":[{"SortedRun":1}],"destination":1}}
//!   slatedb18 lines                                one database driven by JSON lines on standard input, see lines.rs
//!
//! Common: --set key=json (Settings; dotted keys; may repeat), --merge (operator: concatenation), --compact, --gc,
//!   --codec Snappy|Zlib|Lz4|Zstd, --block KIB, --align (new in 0.18: pad table blocks), --incremental (new: publish running
//!   compactions), --expect-epoch N (new), --filters none|BITS[/NAME:RULE][!],... (! = prefixes only), --seg NAME:RULE (segment
//!   extractor), --wal-store URL, --seed N, --slow-put MS (delay before every put), --timeout S (default 60),
//!   --clock-ahead SECONDS (negative: behind), --clock-speed N. RULE: a number (first N bytes) or text (up to and including it).
//! URL: file:///dir (PATH lies below dir, default "db"), s3://bucket (AWS_ENDPOINT, AWS_ALLOW_HTTP=true, AWS_ACCESS_KEY_ID,
//!   AWS_SECRET_ACCESS_KEY, AWS_REGION in the environment). One process opens one database.

#[rustfmt::skip]
use std::{collections::HashMap, future::Future, ops::Bound::{self, Excluded, Included, Unbounded}, pin::Pin, sync::{atomic::{AtomicI64, Ordering::SeqCst}, Arc}};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use object_store::{self as os, aws::AmazonS3Builder, local::LocalFileSystem, path::Path, ObjectStore};
use serde_json::{json, to_value, Map, Value};
use slatedb::admin::{Admin, AdminBuilder};
use slatedb::compactor::CompactionSpec;
use slatedb::config::*;
use slatedb::*;
use slatedb_common::clock::{SystemClock, SystemClockTicker};

mod cache;
mod lines;

type Res<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Store = Arc<dyn ObjectStore>;
type Range = (Bound<Bytes>, Bound<Bytes>);

fn usage(what: &str) -> ! {
    eprintln!("slatedb18: {what}; the comment at the top of driver.rs says how");
    std::process::exit(2)
}

struct Concat;
impl MergeOperator for Concat {
    fn merge(&self, _: &Bytes, old: Option<Bytes>, operand: Bytes) -> std::result::Result<Bytes, MergeOperatorError> {
        Ok([old.unwrap_or_default(), operand].concat().into())
    }
}

/// The first N bytes, or everything up to and including a delimiter.
struct Prefix(String, String);
impl Prefix {
    fn parse(spec: &str) -> Arc<dyn PrefixExtractor> {
        let (name, rule) = spec.split_once(':').unwrap_or_else(|| usage("NAME:RULE"));
        Arc::new(Self(name.into(), rule.into()))
    }
}
impl PrefixExtractor for Prefix {
    #[rustfmt::skip]
    fn name(&self) -> &str { &self.0 }
    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(k) | PrefixTarget::Prefix(k)) = target;
        let d = self.1.as_bytes();
        match self.1.parse::<usize>() {
            Ok(n) => (k.len() >= n).then_some(n),
            Err(_) => k.windows(d.len()).position(|w| w == d).map(|i| i + d.len()),
        }
    }
}

/// The real clock since a start, run faster and moved on (milliseconds) at will. Sleeps take real time.
#[derive(Debug)]
struct Clock(Instant, DateTime<Utc>, f64, AtomicI64);
#[rustfmt::skip]
impl SystemClock for Clock {
    fn now(&self) -> DateTime<Utc> {
        let ms = (self.0.elapsed().as_secs_f64() * 1000.0 * self.2) as i64;
        self.1 + TimeDelta::milliseconds(ms + self.3.load(SeqCst))
    }
    fn sleep<'a>(&'a self, d: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> { Box::pin(tokio::time::sleep(d)) }
    fn ticker<'a>(&'a self, d: Duration) -> SystemClockTicker<'a> { SystemClockTicker::new(self, d) }
}

/// A store with a delay before each put, so that a kill finds work half done. (`ThrottledStore` cannot read files.)
#[derive(Debug)]
struct Slow(Store, Duration);
#[rustfmt::skip]
impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
}
#[rustfmt::skip]
#[async_trait::async_trait]
impl ObjectStore for Slow {
    async fn put_opts(&self, to: &Path, payload: os::PutPayload, o: os::PutOptions) -> os::Result<os::PutResult> {
        tokio::time::sleep(self.1).await;
        self.0.put_opts(to, payload, o).await
    }
    async fn put_multipart_opts(&self, to: &Path, o: os::PutMultipartOptions) -> os::Result<Box<dyn os::MultipartUpload>> { self.0.put_multipart_opts(to, o).await }
    async fn get_opts(&self, from: &Path, o: os::GetOptions) -> os::Result<os::GetResult> { self.0.get_opts(from, o).await }
    fn delete_stream(&self, s: BoxStream<'static, os::Result<Path>>) -> BoxStream<'static, os::Result<Path>> { self.0.delete_stream(s) }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, os::Result<os::ObjectMeta>> { self.0.list(prefix) }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> os::Result<os::ListResult> { self.0.list_with_delimiter(prefix).await }
    async fn copy_opts(&self, from: &Path, to: &Path, o: os::CopyOptions) -> os::Result<()> { self.0.copy_opts(from, to, o).await }
}

fn store(url: &str) -> Res<Store> {
    Ok(match url.split_once("://") {
        Some(("file", dir)) => {
            std::fs::create_dir_all(dir)?;
            Arc::new(LocalFileSystem::new_with_prefix(dir)?)
        }
        Some(("s3", _)) => Arc::new(AmazonS3Builder::from_env().with_url(url).build()?),
        _ => usage("URL is file:///dir or s3://bucket"),
    })
}

const FLAGS: [&str; 9] = ["merge", "reader", "latest", "gets", "compact", "gc", "align", "incremental", "help"];

#[rustfmt::skip]
struct Args { cmd: String, url: String, path: String, ops: Vec<String>, opt: HashMap<String, Vec<String>>, clock: Arc<Clock> }

/// What the builders of writer, compactor and worker have in common.
macro_rules! tables {
    ($a:expr, $b:expr) => {
        $b.with_system_clock($a.clock.clone())
            .with_sst_block_size($a.block())
            .with_sst_block_alignment($a.has("align"))
            .with_filter_policies($a.filters())
    };
}
/// Calls a builder's method for every option that is given.
macro_rules! with {
    ($b:expr, $($value:expr => $method:ident),*) => {{
        let mut b = $b;
        $(if let Some(x) = $value { b = b.$method(x); })*
        b
    }};
}

#[rustfmt::skip]
impl Args {
    fn has(&self, k: &str) -> bool { self.opt.contains_key(k) }
    fn get(&self, k: &str) -> Option<&str> { self.opt.get(k).and_then(|v| v.last()).map(String::as_str) }
    fn num(&self, k: &str) -> Option<u64> { self.get(k).map(|v| v.parse().unwrap_or_else(|_| usage(k))) }
    fn wal_store(&self) -> Res<Option<Store>> { self.get("wal-store").map(store).transpose() }
    fn merge(&self) -> Option<Arc<dyn MergeOperator + Send + Sync>> { self.has("merge").then(|| Arc::new(Concat) as _) }
    fn seg(&self) -> Option<Arc<dyn PrefixExtractor>> { self.get("seg").map(Prefix::parse) }
}

impl Args {
    fn parse() -> Self {
        let (mut pos, mut opt, mut it) = (vec![], HashMap::<String, Vec<String>>::new(), std::env::args().skip(1));
        while let Some(a) = it.next() {
            match a.strip_prefix("--") {
                Some(f) if FLAGS.contains(&f) => opt.entry(f.into()).or_default().push(String::new()),
                Some(f) => opt.entry(f.into()).or_default().push(it.next().unwrap_or_else(|| usage(f))),
                None => pos.push(a),
            }
        }
        if pos.len() < 2 || opt.contains_key("help") {
            usage("scan|wal|write|fence|admin URL [PATH] [OP ...]");
        }
        let path = if pos.len() > 2 { pos.remove(2) } else { "db".into() };
        let speed = opt.get("clock-speed").map_or(1.0, |v| v[0].parse().unwrap_or_else(|_| usage("--clock-speed N")));
        let ahead = opt.get("clock-ahead").map_or(0, |v| v[0].parse::<i64>().unwrap_or_else(|_| usage("--clock-ahead SECONDS")));
        let clock = Arc::new(Clock(Instant::now(), Utc::now(), speed, AtomicI64::new(1000 * ahead)));
        Self { cmd: pos[0].clone(), url: pos[1].clone(), path, ops: pos.split_off(2), opt, clock }
    }
    fn store(&self) -> Res<Store> {
        let s = store(&self.url)?;
        Ok(self.num("slow-put").map_or(s.clone(), |ms| Arc::new(Slow(s, Duration::from_millis(ms)))))
    }
    fn block(&self) -> SstBlockSize {
        use SstBlockSize::*;
        let all = [Block1Kib, Block2Kib, Block4Kib, Block8Kib, Block16Kib, Block32Kib, Block64Kib];
        let kib = self.num("block").unwrap_or(4) as usize;
        all.into_iter().find(|b| b.as_bytes() == kib * 1024).unwrap_or_else(|| usage("--block 1|2|4|8|16|32|64"))
    }
    fn filters(&self) -> Vec<Arc<dyn FilterPolicy>> {
        let one = |s: &str| -> Arc<dyn FilterPolicy> {
            let (bits, extractor) = s.trim_end_matches('!').split_once('/').map_or((s, None), |(b, e)| (b, Some(Prefix::parse(e))));
            let p = BloomFilterPolicy::new(bits.parse().unwrap_or_else(|_| usage("--filters")));
            Arc::new(with!(p.with_whole_key_filtering(!s.ends_with('!')), extractor => with_prefix_extractor))
        };
        self.get("filters").unwrap_or("10").split(',').filter(|s| *s != "none").map(one).collect()
    }

    /// The defaults, but background jobs only if asked for and then quick; --set last.
    fn settings(&self) -> Res<Settings> {
        let (mut v, mut c) = (to_value(Settings::default())?, to_value(CompactorOptions::default())?);
        for k in ["poll_interval", "worker.compactions_poll_interval", "commit_compacted_interval"] {
            *at(&mut c, k) = json!("100ms");
        }
        c["enable_experimental_incremental_compaction"] = json!(self.has("incremental"));
        c["worker"]["compression_codec"] = json!(self.get("codec"));
        v["compression_codec"] = json!(self.get("codec"));
        if !self.has("compact") {
            (v["l0_max_ssts"], v["l0_max_ssts_per_key"]) = (json!(9999), json!(9999));
            // else a flush could wait for ever
        }
        let want = |f: &str, x: Value| if self.has(f) || self.cmd == "admin" { x } else { Value::Null };
        v["compactor_options"] = want("compact", c);
        v["garbage_collector_options"] = want("gc", to_value(GarbageCollectorOptions::default())?);
        for kv in self.opt.get("set").into_iter().flatten() {
            let (k, x) = kv.split_once('=').unwrap_or_else(|| usage("--set key=json"));
            *at(&mut v, k) = serde_json::from_str(x)?;
        }
        Ok(serde_json::from_value(v)?)
    }

    async fn open(&self) -> Res<Db> {
        let b = tables!(self, Db::builder(self.path.clone(), self.store()?).with_settings(self.settings()?));
        let b = b.with_db_cache(Arc::new(cache::KeptBlocks::default()), 0);
        let compactor = self.has("compact").then(|| self.compactor()).transpose()?;
        let b = with!(b, compactor => with_compactor_builder, self.wal_store()? => with_wal_object_store, self.merge() => with_merge_operator,
            self.seg() => with_segment_extractor, self.num("expect-epoch") => with_expected_epoch, self.num("seed") => with_seed);
        Ok(b.build().await?)
    }

    async fn reader(&self) -> Res<DbReader> {
        let mode = match self.get("checkpoint") {
            Some(c) => DbReaderMode::Checkpoint(c.parse()?),
            None if self.has("latest") => DbReaderMode::FollowLatest,
            None => DbReaderMode::ManagedCheckpoint,
        };
        let b = DbReader::builder(self.path.clone(), self.store()?).with_db_cache(Arc::new(cache::KeptBlocks::default()), 0);
        let b = b.with_reader_mode(mode).with_filter_policies(self.filters());
        let b = with!(b, self.wal_store()? => with_wal_object_store, self.merge() => with_merge_operator, self.seg() => with_segment_extractor);
        Ok(b.build().await?)
    }

    fn compactor(&self) -> Res<CompactorBuilder<String>> {
        let options = self.settings()?.compactor_options.unwrap_or_else(|| usage("no compactor_options"));
        let b = tables!(self, CompactorBuilder::new(self.path.clone(), self.store()?).with_options(options));
        let epoch = self.num("expect-epoch").filter(|_| self.cmd == "admin");
        Ok(with!(b, self.merge() => with_merge_operator, epoch => with_expected_epoch, self.num("seed") => with_seed))
    }

    async fn worker(&self) -> Res<CompactionWorker> {
        let options = self.settings()?.compactor_options.and_then(|c| c.worker).unwrap_or_default();
        let b = tables!(self, CompactionWorkerBuilder::new(self.path.clone(), self.store()?).with_options(options));
        Ok(with!(b, self.merge() => with_merge_operator, self.num("seed") => with_seed).build().await?)
    }

    fn admin(&self, path: &str) -> Res<Admin> {
        let b = AdminBuilder::new(path, self.store()?).with_system_clock(self.clock.clone());
        Ok(with!(b, self.wal_store()? => with_wal_object_store, self.num("seed") => with_seed).build())
    }
}

#[rustfmt::skip]
mod text {
    use super::*;
    pub fn hex(b: &[u8]) -> String { b.iter().map(|x| format!("{x:02x}")).collect() }
    pub fn unhex(s: &str) -> Bytes {
        let pair = |i| s.get(i..i + 2).and_then(|p| u8::from_str_radix(p, 16).ok());
        (0..s.len()).step_by(2).map(|i| pair(i).unwrap_or_else(|| usage("hex expected"))).collect()
    }
    /// Numbers are strings: JavaScript has 53 bits.
    pub fn num(n: impl ToString) -> Value { Value::String(n.to_string()) }
    pub fn opt<T: ToString>(n: Option<T>) -> Value { n.map_or(Value::Null, num) }
    pub fn at<'a>(v: &'a mut Value, key: &str) -> &'a mut Value { key.split('.').fold(v, |v, k| &mut v[k]) }
    pub fn bound(h: &str, b: fn(Bytes) -> Bound<Bytes>) -> Bound<Bytes> { if h.is_empty() { Unbounded } else { b(unhex(h)) } }
}
use text::*;

/// SlateDB's own JSON with byte arrays (arrays of numbers) in hex.
fn plain(v: Value) -> Value {
    let byte = |x: &Value| x.as_u64().and_then(|n| u8::try_from(n).ok());
    match v {
        Value::Object(m) => m.into_iter().map(|(k, v)| (k, plain(v))).collect::<Map<_, _>>().into(),
        Value::Array(a) => match a.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(b) if !b.is_empty() => hex(&b).into(),
            _ => a.into_iter().map(plain).collect(),
        },
        v => v,
    }
}

fn row(mut v: Value, key: &[u8], value: Option<&[u8]>, seq: u64, create_ts: Option<i64>, expire_ts: Option<i64>) -> Value {
    (v["key"], v["value"], v["seq"]) = (json!(hex(key)), json!(value.map(hex)), num(seq));
    (v["create_ts"], v["expire_ts"]) = (opt(create_ts), opt(expire_ts));
    v
}

async fn rows(a: &Args, db: &(impl DbReadOps + Sync)) -> Res<Value> {
    let (mut rows, mut differ, mut gets) = (vec![], vec![], vec![]);
    let mut it = db.scan_prefix(a.get("prefix").map(unhex).unwrap_or_default(), ..).await?;
    while let Some(x) = it.next().await? {
        if a.has("gets") && db.get(&x.key).await?.as_ref() != Some(&x.value) {
            differ.push(hex(&x.key));
        }
        rows.push(row(json!({}), &x.key, Some(&x.value), x.seq, Some(x.create_ts), x.expire_ts));
    }
    for k in a.ops.iter().map(|k| k.trim_start_matches("get:")) {
        gets.push(json!({"key": k, "value": db.get(unhex(k)).await?.map(|v| hex(&v))}));
    }
    Ok(json!({"count": rows.len(), "rows": rows, "gets_that_differ": a.has("gets").then_some(differ), "gets": gets}))
}

async fn scan(a: &Args) -> Res<Value> {
    let out;
    if a.has("reader") {
        let r = a.reader().await?;
        out = rows(a, &r).await?;
        r.close().await?;
    } else {
        let db = a.open().await?;
        out = rows(a, &db).await?;
        db.close().await?;
    }
    Ok(out)
}

async fn wal(a: &Args) -> Res<Value> {
    let reader = WalReader::new(a.path.clone(), a.wal_store()?.unwrap_or(a.store()?));
    let mut out = vec![];
    for f in reader.list(a.num("from").unwrap_or(0)..).await? {
        let (mut it, mut rows) = (f.iterator().await?, vec![]);
        while let Some(r) = it.next().await? {
            let kind = if r.value.is_tombstone() {
                "Tombstone"
            } else if matches!(r.value, ValueDeletable::Merge(_)) {
                "Merge"
            } else {
                "Value"
            };
            rows.push(row(json!({"kind": kind}), &r.key, r.value.as_bytes().as_deref(), r.seq, r.create_ts, r.expire_ts));
        }
        out.push(json!({"id": num(f.id), "rows": rows}));
    }
    Ok(json!({"wal": out}))
}

fn batch(ops: &str) -> WriteBatch {
    let mut b = WriteBatch::new();
    for o in ops.split(',') {
        match o.split(':').collect::<Vec<_>>()[..] {
            ["put", k, v] => b.put(unhex(k), unhex(v)),
            ["merge", k, v] => b.merge(unhex(k), unhex(v)),
            ["del", k] => b.delete(unhex(k)),
            _ => usage(o),
        }
    }
    b
}

async fn write(a: &Args) -> Res<Value> {
    let db = a.open().await?;
    let (mut handles, mut snaps, mut gets, mut checkpoints, mut seqnum) = (Vec::<WriteHandle>::new(), vec![], vec![], vec![], 0);
    let how = |f: &str| FlushOptions { flush_type: if f == "wal" { FlushType::Wal } else { FlushType::MemTable } };
    for op in a.ops.iter().cloned().chain(a.get("flush").map(|f| format!("flush:{f}"))) {
        let (kind, rest) = op.split_once(':').unwrap_or((op.as_str(), ""));
        let p: Vec<&str> = rest.split(':').collect();
        let int = |i: usize, d: u64| p.get(i).map_or(d, |x| x.parse().unwrap_or_else(|_| usage(&op)));
        let b = |i: usize| unhex(p.get(i).unwrap_or_else(|| usage(&op)));
        let ttl = || if p.len() > 2 { Ttl::ExpireAfterMillis(int(2, 0)) } else { Ttl::Default };
        let wo = WriteOptions { seqnum: std::mem::take(&mut seqnum), ..Default::default() };
        match kind {
            "seq" => seqnum = int(0, 0),
            "put" => handles.push(db.put_with_options(b(0), b(1), &PutOptions { ttl: ttl() }, &wo).await?),
            "merge" => handles.push(db.merge_with_options(b(0), b(1), &MergeOptions { ttl: ttl() }, &wo).await?),
            "del" => handles.push(db.delete_with_options(b(0), &wo).await?),
            "batch" => handles.push(db.write_with_options(batch(rest), &wo).await?),
            "nput" => {
                for n in (0..int(1, 1)).map(|i| int(3, 0) + i * int(4, 1)) {
                    let value: Bytes = format!("{n}.").bytes().cycle().take(int(2, 20) as usize).collect();
                    handles.push(db.put(format!("{}{n:08}", p[0]), value).await?);
                }
            }
            "get" => gets.push(json!({"key": rest, "value": db.get(b(0)).await?.map(|v| hex(&v))})),
            "checkpoint" => {
                let scope = if p[0] == "durable" { CheckpointScope::Durable } else { CheckpointScope::All };
                let options = CheckpointOptions { name: p.get(1).map(|n| n.to_string()), ..Default::default() };
                let c = db.create_checkpoint(scope, &options).await?;
                checkpoints.push(json!({"id": num(c.id), "manifest_id": num(c.manifest_id)}));
            }
            "snap" => snaps.push(db.snapshot()?),
            "unsnap" => snaps.clear(),
            "flush" => db.flush_with_options(how(rest)).await?,
            "clock" => drop(a.clock.3.fetch_add(1000 * int(0, 0) as i64, SeqCst)),
            "sleep" => tokio::time::sleep(Duration::from_secs_f64(rest.parse()?)).await,
            _ => usage(&op),
        }
    }
    let end = a.get("end").unwrap_or("close");
    let (first, last) = (opt(handles.first().map(|h| h.seqnum())), opt(handles.last().map(|h| h.seqnum())));
    let out = json!({"end": end, "writes": handles.len(), "first_seq": first, "last_seq": last, "gets": gets, "checkpoints": checkpoints,
        "writer_epoch": num(db.manifest().writer_epoch())});
    if end == "close" {
        db.close().await?;
    } else if let Some(secs) = end.strip_prefix("keep:") {
        println!("{}", json!({"ok": true, "open": true, "last_seq": last}));
        tokio::time::sleep(Duration::from_secs_f64(secs.parse()?)).await;
    }
    std::mem::forget((db, snaps)); // nothing may run on the way out of a crash
    Ok(out)
}

fn source(spec: &str) -> Res<CloneSourceSpec<Range>> {
    let p: Vec<&str> = spec.split('~').collect();
    let s = match p[0].split_once('@') {
        Some((path, checkpoint)) => CloneSourceSpec::with_checkpoint(path, checkpoint.parse()?),
        None => CloneSourceSpec::new(p[0]),
    };
    Ok(if p.len() == 3 { s.with_projection_range((bound(p[1], Included), bound(p[2], Excluded))) } else { s })
}

async fn admin(a: &Args) -> Res<Value> {
    let (ad, mut out) = (a.admin(&a.path)?, Map::new());
    let ops = if a.ops.is_empty() { vec!["manifest".into()] } else { a.ops.clone() };
    for op in &ops {
        let (kind, rest) = op.split_once(':').unwrap_or((op.as_str(), ""));
        let p: Vec<&str> = rest.split(':').collect();
        let text = |i: usize| p.get(i).filter(|s| !s.is_empty()).map(|s| s.to_string());
        let int = |i: usize| text(i).map(|s| s.parse::<u64>().unwrap_or_else(|_| usage(op)));
        let ms = |i: usize| int(i).map(Duration::from_millis);
        let wait = || tokio::time::sleep(Duration::from_secs_f64(rest.parse().unwrap_or_else(|_| usage(op))));
        let v = match kind {
            "manifest" => to_value(ad.read_manifest(int(0)).await?)?,
            "manifests" => to_value(ad.list_manifests(..).await?)?,
            "compactions" => to_value(ad.read_compactions(int(0)).await?)?,
            "compactions-all" => to_value(ad.list_compactions(..).await?)?,
            "checkpoints" => to_value(ad.list_checkpoints(text(0).as_deref()).await?)?,
            "time-of" => opt(ad.get_timestamp_for_sequence(int(0).unwrap_or(0), false).await?),
            "checkpoint" => {
                let options = CheckpointOptions { lifetime: ms(1), source: text(2).map(|s| s.parse()).transpose()?, name: text(0) };
                let c = ad.create_detached_checkpoint(&options).await?;
                json!({"id": num(c.id), "manifest_id": num(c.manifest_id)})
            }
            "refresh" => to_value(ad.refresh_checkpoint(p[0].parse()?, ms(1)).await.map(|_| true)?)?,
            "drop-checkpoint" => to_value(ad.delete_checkpoint(p[0].parse()?).await.map(|_| true)?)?,
            "clone" => {
                let (target, sources) = rest.split_once(',').unwrap_or((rest, &a.path));
                let mut sources = sources.split(',').map(source).collect::<Res<Vec<_>>>()?.into_iter();
                let first = sources.next().unwrap_or_else(|| usage(op));
                let clone = a.admin(target)?.create_clone_builder_from_source(first);
                sources.fold(clone, |b, s| b.with_source(s)).build().await?;
                json!(target)
            }
            "gc" => {
                let d = Some(GarbageCollectorDirectoryOptions { interval: None, min_age: ms(0).unwrap_or_default(), dry_run: false });
                let o = GarbageCollectorOptions { manifest_options: d, wal_options: d, wal_fence_options: d, ..Default::default() };
                ad.run_gc_once(GarbageCollectorOptions { compacted_options: d, compactions_options: d, ..o }).await?;
                json!(true)
            }
            "compactor" => {
                let c = a.compactor()?.build();
                tokio::select! { r = c.run() => r?, () = wait() => c.stop().await? }
                json!(true)
            }
            "worker" => {
                let w = a.worker().await?;
                tokio::select! { r = w.run() => r?, () = wait() => w.stop().await? }
                json!(true)
            }
            "submit" => to_value(ad.submit_compaction(serde_json::from_str::<CompactionSpec>(rest)?).await?)?,
            "delete-db" => json!(ad.delete_db(rest == "confirm").await?),
            _ => usage(op),
        };
        out.insert(kind.into(), plain(v));
    }
    Ok(Value::Object(out))
}

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // reqwest comes without one
    if std::env::args().nth(1).as_deref() == Some("lines") {
        return lines::run().await;
    }
    let a = Args::parse();
    let limit = Duration::from_secs(a.num("timeout").unwrap_or(60));
    std::thread::spawn(move || {
        std::thread::sleep(limit + Duration::from_secs(5)); // only a blocked runtime is still here
        println!("{}", json!({"ok": false, "error": "hang"}));
        std::process::exit(1)
    });
    let run = async {
        match a.cmd.as_str() {
            "scan" => scan(&a).await,
            "wal" => wal(&a).await,
            "write" => write(&a).await,
            "fence" => a.open().await.map(std::mem::forget).map(|()| json!({"fenced": true})),
            "admin" => admin(&a).await,
            _ => usage("scan|wal|write|fence|admin"),
        }
    };
    let (ok, mut v) = match tokio::time::timeout(limit, run).await {
        Err(_) => (false, json!({"error": "timeout"})),
        Ok(Ok(v)) => (true, v),
        Ok(Err(e)) => (false, json!({"kind": e.downcast_ref().map(|e: &Error| format!("{:?}", e.kind())), "error": e.to_string()})),
    };
    v["ok"] = json!(ok);
    println!("{v}");
    std::process::exit(i32::from(!ok))
}
