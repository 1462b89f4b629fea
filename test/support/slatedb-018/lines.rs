//! The command `lines`: drives one database by JSON lines, as live-slatedb.ts (one directory up) sends them. Keys and values are
//! base64. What a request says is put into the words of the command line, so that both open a database in the same way.
//!
//! One request at a time, in the order in which they come. The process ends at the end of standard input, without closing the
//! database: whoever wants a clean end sends "close" first.

use base64::{engine::general_purpose::STANDARD as BASE64, Engine};
use futures::{stream, StreamExt, TryStreamExt};
use slatedb::compactor::SourceId;
use tokio::{sync::mpsc, sync::oneshot, task::JoinHandle};

use crate::*;

const GETS_AT_ONCE: usize = 16;
const ROWS_PER_LINE: usize = 500;
const COMPACT_LIMIT: Duration = Duration::from_secs(150);
/// How often a compactor looks for work, and how often is looked whether it has done it.
const POLL: &str = "50ms";
const LOOK: Duration = Duration::from_millis(50);

/// A stand-alone compactor or worker at work: told to stop, it says how it ended.
struct Role(oneshot::Sender<()>, JoinHandle<std::result::Result<(), Error>>);

#[derive(Default)]
struct Lines {
    db: Option<Db>,
    role: Option<Role>,
}

pub async fn run() {
    let (send, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            let _ = send.send(line);
        }
        std::process::exit(0) // a crash for an open database: nothing is flushed any more
    });
    let mut state = Lines::default();
    while let Some(line) = lines.recv().await {
        let request: Value = serde_json::from_str(&line).unwrap_or_else(|e| usage(&format!("a request is not JSON: {e}")));
        let answer = match state.handle(&request).await {
            Ok(result) => json!({"id": request["id"], "result": result}),
            Err(e) => json!({"id": request["id"], "error": failure(e)}),
        };
        println!("{answer}");
    }
}

fn failure(e: Box<dyn std::error::Error + Send + Sync>) -> Value {
    match e.downcast_ref::<Error>().map(Error::kind) {
        Some(ErrorKind::Closed(reason)) => json!({"kind": "Closed", "reason": format!("{reason:?}"), "message": e.to_string()}),
        Some(kind) => json!({"kind": format!("{kind:?}"), "message": e.to_string()}),
        // Settings that SlateDB does not take.
        None if e.is::<serde_json::Error>() => json!({"kind": "Invalid", "message": e.to_string()}),
        None => json!({"kind": "Driver", "message": e.to_string()}),
    }
}

/// The command line that means the same as the request.
fn args(r: &Value, cmd: &str) -> Args {
    let mut opt = HashMap::<String, Vec<String>>::new();
    let mut add = |name: &str, value: String| opt.entry(name.into()).or_default().push(value);
    let flags = [("compactor", "compact"), ("mergeOperator", "merge"), ("align", "align"), ("incremental", "incremental")];
    for (_, name) in flags.iter().filter(|(field, _)| !matches!(r[field], Value::Null | Value::Bool(false))) {
        add(name, String::new());
    }
    let numbers = [("expectedEpoch", "expect-epoch"), ("slowPutMs", "slow-put")];
    for (field, name) in numbers.iter().filter(|(field, _)| !r[field].is_null()) {
        add(name, r[field].to_string());
    }
    if let Some(codec) = r["codec"].as_str() {
        add("codec", codec.into());
    }
    if let Some(size) = r["blockBytes"].as_u64() {
        add("block", (size / 1024).to_string());
    }
    if !r["wal"].is_null() {
        add("wal-store", url(&r["wal"]));
    }
    add("set", "l0_max_ssts=1000".into());
    add("set", "l0_max_ssts_per_key=1000".into());
    if cmd == "admin" || r["compactor"] == true {
        add("set", format!("compactor_options.poll_interval=\"{POLL}\""));
        add("set", format!("compactor_options.worker.compactions_poll_interval=\"{POLL}\""));
    }
    for (name, value) in r["settings"].as_object().into_iter().flatten() {
        add("set", format!("{name}={value}"));
    }
    let speed = r["clockSpeed"].as_f64().unwrap_or(1.0);
    let ahead_ms = 1000 * r["clockAheadSeconds"].as_i64().unwrap_or(0);
    let clock = Arc::new(Clock(Instant::now(), Utc::now(), speed, AtomicI64::new(ahead_ms)));
    Args { cmd: cmd.into(), url: url(r), path: r["path"].as_str().unwrap_or("db").into(), ops: vec![], opt, clock }
}

fn url(place: &Value) -> String {
    match (&place["bucket"], &place["directory"]) {
        (Value::String(bucket), _) => format!("s3://{bucket}"),
        (_, Value::String(directory)) => format!("file://{directory}"),
        _ => usage("a request without a place"),
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> Value {
    json!(BASE64.encode(bytes))
}

fn bytes(v: &Value) -> Res<Bytes> {
    Ok(BASE64.decode(v.as_str().ok_or("base64 expected")?)?.into())
}

fn ttl(v: &Value) -> Ttl {
    v.as_u64().map_or(Ttl::Default, Ttl::ExpireAfterMillis)
}

/// Sends rows in lines that are not too long.
fn send(id: &Value, rows: Vec<Value>) {
    for rows in rows.chunks(ROWS_PER_LINE) {
        println!("{}", json!({"id": id, "rows": rows}));
    }
}

async fn send_scan(id: &Value, db: &(impl DbReadOps + Sync), range: Range) -> Res<Value> {
    let (mut rows, mut it) = (vec![], db.scan(range).await?);
    while let Some(x) = it.next().await? {
        rows.push(json!([b64(&x.key), b64(&x.value), num(x.seq), num(x.create_ts), opt(x.expire_ts)]));
    }
    send(id, rows);
    Ok(Value::Null)
}

async fn written(handle: WriteHandle, r: &Value) -> Res<Value> {
    if r["awaitDurable"] != json!(false) {
        handle.await_durable().await?;
    }
    Ok(num(handle.seqnum()))
}

/// As `SlateDbManifest` names it.
fn manifest(m: &VersionedManifest) -> Res<Value> {
    let j = to_value(m)?;
    let runs: Vec<Value> = j["compacted"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| json!({"id": run["id"], "tables": run["sst_views"].as_array().map_or(0, Vec::len)}))
        .collect();
    Ok(json!({
        "id": m.id(), "writerEpoch": m.writer_epoch(), "compactorEpoch": m.compactor_epoch(),
        "l0": m.l0().iter().map(|v| v.id.to_string()).collect::<Vec<_>>(), "sortedRuns": runs,
        "nextWalId": m.next_wal_sst_id(), "replayAfterWalId": m.replay_after_wal_id(),
        "lastL0Seq": num(m.last_l0_seq()), "checkpoints": m.checkpoints().len(),
    }))
}

async fn newest(ad: &Admin) -> Res<VersionedManifest> {
    Ok(ad.read_manifest(None).await?.ok_or("there is no manifest")?)
}

/// Everything into one run; its id is that of the oldest run that goes into it.
async fn compact_all(r: &Value) -> Res<Value> {
    let mut r = r.clone();
    r["compactor"] = json!(true);
    let a = args(&r, "lines");
    let (db, ad, start) = (a.open().await?, a.admin(&a.path)?, Instant::now());
    db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await?;
    while start.elapsed() < COMPACT_LIMIT {
        let before = newest(&ad).await?;
        if before.l0().is_empty() && before.compacted().len() <= 1 {
            db.close().await?;
            return manifest(&newest(&ad).await?);
        }
        let views = before.l0().iter().map(|v| SourceId::SstView(v.id));
        let sources = views.chain(before.compacted().iter().map(|run| SourceId::SortedRun(run.id))).collect();
        let destination = before.compacted().iter().map(|run| run.id).min().unwrap_or(0);
        if let Err(e) = ad.submit_compaction(CompactionSpec::new(sources, destination)).await {
            // The compactor's own plan may hold these sources already; then wait for what it does with them.
            eprintln!("submit_compaction: {e}");
        }
        for _ in 0..100 {
            tokio::time::sleep(LOOK).await;
            if newest(&ad).await?.id() != before.id() {
                break;
            }
        }
    }
    let (left, jobs) = (manifest(&newest(&ad).await?)?, plain(to_value(ad.read_compactions(None).await?)?));
    Err(format!("the compaction did not finish; the newest manifest: {left}; the jobs: {jobs}; the database: {:?}", db.status()).into())
}

impl Lines {
    fn db(&self) -> Res<&Db> {
        Ok(self.db.as_ref().ok_or("no database is open")?)
    }

    async fn handle(&mut self, r: &Value) -> Res<Value> {
        let wo = WriteOptions::default();
        match r["op"].as_str().unwrap_or_default() {
            "open" => self.db = Some(args(r, "lines").open().await?),
            "put" => {
                let options = PutOptions { ttl: ttl(&r["ttlMs"]) };
                return written(self.db()?.put_with_options(bytes(&r["key"])?, bytes(&r["value"])?, &options, &wo).await?, r).await;
            }
            "delete" => return written(self.db()?.delete_with_options(bytes(&r["key"])?, &wo).await?, r).await,
            "merge" => {
                let options = MergeOptions { ttl: ttl(&r["ttlMs"]) };
                return written(self.db()?.merge_with_options(bytes(&r["key"])?, bytes(&r["value"])?, &options, &wo).await?, r).await;
            }
            "write" => {
                let mut batch = WriteBatch::new();
                for op in r["ops"].as_array().into_iter().flatten() {
                    let key = bytes(&op[1])?;
                    match op[0].as_str() {
                        Some("put") => batch.put_with_options(key, bytes(&op[2])?, &PutOptions { ttl: ttl(&op[3]) }),
                        Some("merge") => batch.merge_with_options(key, bytes(&op[2])?, &MergeOptions { ttl: ttl(&op[3]) }),
                        _ => batch.delete(key),
                    }
                }
                return written(self.db()?.write_with_options(batch, &wo).await?, r).await;
            }
            "getMany" => {
                let (db, keys) = (self.db()?, r["keys"].as_array().into_iter().flatten().map(bytes).collect::<Res<Vec<_>>>()?);
                let gets = stream::iter(keys).map(|key| async move { db.get(key).await });
                let values: Vec<Option<Bytes>> = gets.buffered(GETS_AT_ONCE).try_collect().await?;
                return Ok(values.into_iter().map(|v| v.map_or(Value::Null, b64)).collect());
            }
            "scan" => {
                let at = |k: &str, b: fn(Bytes) -> Bound<Bytes>| if r[k].is_null() { Ok(Unbounded) } else { bytes(&r[k]).map(b) };
                return send_scan(&r["id"], self.db()?, (at("gte", Included)?, at("lt", Excluded)?)).await;
            }
            "flush" => {
                let flush_type = if r["type"] == "wal" { FlushType::Wal } else { FlushType::MemTable };
                self.db()?.flush_with_options(FlushOptions { flush_type }).await?;
            }
            "close" => {
                self.db()?.close().await?;
                self.db = None;
            }
            "readerScan" => {
                let reader = args(r, "lines").reader().await?;
                send_scan(&r["id"], &reader, (Unbounded, Unbounded)).await?;
                reader.close().await?;
            }
            "walRows" => {
                let a = args(r, "lines");
                let files = wal(&a).await?;
                send(&r["id"], files["wal"].as_array().into_iter().flatten().map(wal_file).collect::<Res<_>>()?);
            }
            "manifests" => {
                let a = args(r, "lines");
                return a.admin(&a.path)?.list_manifests(..).await?.iter().map(manifest).collect();
            }
            "compactAll" => return compact_all(r).await,
            // Sources and destination as SlateDB's own JSON has them.
            "submit" => {
                let a = args(r, "lines");
                a.admin(&a.path)?.submit_compaction(serde_json::from_value(r["spec"].clone())?).await?;
            }
            "collect" => {
                let mut a = args(r, "admin");
                a.ops = vec![format!("gc:{}", r["minAgeMs"])];
                return admin(&a).await;
            }
            "start-compactor" => {
                let (c, (stop, stopped)) = (args(r, "admin").compactor()?.build(), oneshot::channel());
                let task = tokio::spawn(async move {
                    tokio::select! { r = c.run() => r, _ = stopped => c.stop().await }
                });
                self.role = Some(Role(stop, task));
            }
            "start-worker" => {
                let (w, (stop, stopped)) = (args(r, "admin").worker().await?, oneshot::channel());
                let task = tokio::spawn(async move {
                    tokio::select! { r = w.run() => r, _ = stopped => w.stop().await }
                });
                self.role = Some(Role(stop, task));
            }
            "stop" => {
                let Role(stop, task) = self.role.take().ok_or("nothing was started")?;
                let _ = stop.send(()); // it may have ended by itself
                task.await??;
            }
            op => return Err(format!("there is no {op}").into()),
        }
        Ok(Value::Null)
    }
}

/// What `wal` says of an object, in the words of `walRows`.
fn wal_file(file: &Value) -> Res<Value> {
    let rows = file["rows"].as_array().into_iter().flatten().map(|row| {
        let kind = row["kind"].as_str().unwrap_or_default().to_lowercase();
        let plain = |k: &str| row[k].as_str().map_or(Value::Null, |h| b64(unhex(h)));
        json!([kind, plain("key"), plain("value"), row["seq"], row["create_ts"], row["expire_ts"]])
    });
    let id: u64 = file["id"].as_str().unwrap_or_default().parse()?;
    Ok(json!([id, rows.collect::<Vec<_>>()]))
}
