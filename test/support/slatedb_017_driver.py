"""Drives one SlateDB 0.17 database for live-slatedb.ts: JSON lines in, JSON lines out. Keys and values are base64.

Ends at the end of standard input, without closing the database: a parent that wants a clean end sends "close" first.
"""
import asyncio
import json
import os
import sys
import threading
import time
from base64 import b64decode, b64encode

import slatedb.uniffi as u

ROWS_PER_LINE = 500
COMPACT_LIMIT_S = 150
WRITE_OPTIONS = u.WriteOptions()


class Concat(u.MergeOperator):
    def merge(self, key, existing_value, operand):
        return (existing_value or b"") + operand


def text(data):
    return b64encode(data).decode()


def number(n):
    return None if n is None else str(n)


def ttl(ms):
    return u.Ttl.DEFAULT() if ms is None else u.Ttl.EXPIRE_AFTER_MILLIS(ms)


def store_of(place):
    if "bucket" in place:
        return u.ObjectStore.resolve(f"s3://{place['bucket']}/")
    os.makedirs(place["directory"], exist_ok=True)
    os.environ.update(CLOUD_PROVIDER="local", LOCAL_PATH=os.path.abspath(place["directory"]))
    return u.ObjectStore.from_env(None)


def settings_of(request):
    settings = u.Settings.default()
    compactor = None
    if request.get("compactor"):
        compactor = json.loads(settings.to_json_string())["compactor_options"]
        compactor["poll_interval"] = "50ms"
        compactor["worker"]["compactions_poll_interval"] = "50ms"
        compactor.update(request.get("compactorOptions", {}))
    values = {"compactor_options": compactor, "garbage_collector_options": None, "l0_max_ssts": 1000, "l0_max_ssts_per_key": 1000}
    for name, value in {**values, **request.get("settings", {})}.items():
        settings.set(name, json.dumps(value))
    return settings


class FirstByte(u.PrefixExtractor):
    def name(self):
        return "first-byte"

    def prefix_len(self, target):
        return 1


def block_size(size):
    return getattr(u.SstBlockSize, f"BLOCK{size // 1024}_KIB")


async def open_db(request):
    builder = u.DbBuilder(request["path"], store_of(request))
    builder.with_settings(settings_of(request))
    if request.get("mergeOperator"):
        builder.with_merge_operator(Concat())
    if request.get("wal"):
        builder.with_wal_object_store(store_of(request["wal"]))
    if request.get("blockBytes"):
        builder.with_sst_block_size(block_size(request["blockBytes"]))
    if request.get("segments"):
        builder.with_segment_extractor(FirstByte())
    return await builder.build()


def source_of(source):
    ((kind, value),) = source.items()
    return u.SourceId.SST_VIEW(value) if kind == "SstView" else u.SourceId.SORTED_RUN(value)


def manifest_of(m):
    return {
        "id": m.id,
        "writerEpoch": m.writer_epoch,
        "compactorEpoch": m.compactor_epoch,
        "l0": [view.id for view in m.l0],
        "sortedRuns": [{"id": run.id, "tables": len(run.sst_views)} for run in m.compacted],
        "nextWalId": m.next_wal_sst_id,
        "replayAfterWalId": m.replay_after_wal_id,
        "lastL0Seq": str(m.last_l0_seq),
        "checkpoints": len(m.checkpoints),
    }


async def manifests(place):
    admin = u.AdminBuilder(place["path"], store_of(place)).build()
    return sorted(await admin.list_manifests(None, None), key=lambda m: m.id)


class Driver:
    def __init__(self):
        self.db = None

    def out(self, message):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    async def rows(self, request_id, iterator):
        while chunk := await iterator.next_batch(ROWS_PER_LINE):
            self.out({"id": request_id, "rows": [
                [text(r.key), text(r.value), str(r.seq), number(r.create_ts), number(r.expire_ts)] for r in chunk]})

    async def written(self, handle, request):
        if request.get("awaitDurable", True):
            await handle.await_durable()
        return str(handle.seqnum())

    async def op_open(self, request):
        self.db = await open_db(request)
        self.place = request

    async def op_put(self, r):
        options = u.PutOptions(ttl=ttl(r.get("ttlMs")))
        handle = await self.db.put_with_options(b64decode(r["key"]), b64decode(r["value"]), options, WRITE_OPTIONS)
        return await self.written(handle, r)

    async def op_delete(self, r):
        return await self.written(await self.db.delete(b64decode(r["key"])), r)

    async def op_merge(self, r):
        options = u.MergeOptions(ttl=ttl(r.get("ttlMs")))
        handle = await self.db.merge_with_options(b64decode(r["key"]), b64decode(r["value"]), options, WRITE_OPTIONS)
        return await self.written(handle, r)

    async def op_write(self, r):
        batch = u.WriteBatch()
        for kind, key, *rest in r["ops"]:
            key = b64decode(key)
            if kind == "put":
                batch.put_with_options(key, b64decode(rest[0]), u.PutOptions(ttl=ttl(rest[1])))
            elif kind == "merge":
                batch.merge_with_options(key, b64decode(rest[0]), u.MergeOptions(ttl=ttl(rest[1])))
            else:
                batch.delete(key)
        return await self.written(await self.db.write(batch), r)

    async def op_getMany(self, r):
        values = [await self.db.get(b64decode(key)) for key in r["keys"]]
        return [None if v is None else text(v) for v in values]

    async def op_scan(self, r):
        start, end = (None if r[n] is None else b64decode(r[n]) for n in ("gte", "lt"))
        await self.rows(r["id"], await self.db.scan(u.KeyRange(start=start, start_inclusive=True, end=end, end_inclusive=False)))

    async def op_flush(self, r):
        kind = u.FlushType.WAL if r["type"] == "wal" else u.FlushType.MEM_TABLE
        await self.db.flush_with_options(u.FlushOptions(flush_type=kind))

    async def op_close(self, _):
        await self.db.shutdown()
        self.db = None

    async def op_submitToUnknownSegment(self, r):
        admin = u.AdminBuilder(self.place["path"], store_of(self.place)).build()
        sources = [u.SourceId.SORTED_RUN(0)]
        await admin.submit_compaction(u.CompactionSpec.TIERED(segment=r["segment"].encode(), sources=sources, destination=0))

    async def op_submit(self, r):
        tiered = r["spec"]["Tiered"]
        sources = [source_of(source) for source in tiered["sources"]]
        admin = u.AdminBuilder(r["path"], store_of(r)).build()
        await admin.submit_compaction(u.CompactionSpec.TIERED(segment=b"", sources=sources, destination=tiered["destination"]))

    async def op_collect(self, r):
        """One round, with the boundary files that a store with If-Match allows."""
        each = u.GarbageCollectorDirectoryOptions(interval_ms=None, min_age_ms=r["minAgeMs"], dry_run=False)
        options = u.GarbageCollectorOptions(
            manifest_options=each, wal_options=each, wal_fence_options=None, compacted_options=each, compactions_options=each,
            detach_options=None, object_store_max_retries=None)
        await u.AdminBuilder(r["path"], store_of(r)).build().run_gc_once(options)

    async def op_readerScan(self, r):
        builder = u.DbReaderBuilder(r["path"], store_of(r))
        if r.get("mergeOperator"):
            builder.with_merge_operator(Concat())
        if r.get("wal"):
            builder.with_wal_object_store(store_of(r["wal"]))
        reader = await builder.build()
        everything = u.KeyRange(start=None, start_inclusive=True, end=None, end_inclusive=False)
        await self.rows(r["id"], await reader.scan(everything))
        await reader.shutdown()

    async def op_walRows(self, r):
        manifest = (await manifests(r))[-1]
        reader = u.SlateDbWalReader(r["path"], store_of(r))
        last = await reader.last_wal_file_id(manifest.replay_after_wal_id)
        if last == manifest.replay_after_wal_id:
            return
        iterator = await reader.iterator(manifest.replay_after_wal_id + 1)
        kinds = {u.RowEntryKind.VALUE: "value", u.RowEntryKind.TOMBSTONE: "tombstone", u.RowEntryKind.MERGE: "merge"}
        while True:
            found = await asyncio.wait_for(iterator.next(), 20)
            self.out({"id": r["id"], "rows": [[found.last_consumed_wal_file_id, [
                [kinds[x.kind], text(x.key), None if x.value is None else text(x.value), str(x.seq), number(x.create_ts),
                 number(x.expire_ts)] for x in found.rows]]]})
            if found.last_consumed_wal_file_id >= last:
                return

    async def op_manifests(self, r):
        return [manifest_of(m) for m in await manifests(r)]

    async def op_compactAll(self, r):
        """One compaction of every L0 table and sorted run into one run; the id of the run is that of the oldest source run."""
        db = await open_db({**r, "compactor": True})
        await db.flush_with_options(u.FlushOptions(flush_type=u.FlushType.MEM_TABLE))
        admin = u.AdminBuilder(r["path"], store_of(r)).build()
        limit = time.monotonic() + COMPACT_LIMIT_S
        while time.monotonic() < limit:
            newest = (await manifests(r))[-1]
            if not newest.l0 and len(newest.compacted) <= 1:
                await db.shutdown()
                return manifest_of((await manifests(r))[-1])
            sources = [u.SourceId.SST_VIEW(view.id) for view in newest.l0]
            sources += [u.SourceId.SORTED_RUN(run.id) for run in newest.compacted]
            destination = min([run.id for run in newest.compacted], default=0)
            try:
                await admin.submit_compaction(u.CompactionSpec.TIERED(segment=b"", sources=sources, destination=destination))
            except u.Error as error:
                # The compactor's own plan may hold these sources already; then wait for what it does with them.
                print("submit_compaction:", error, file=sys.stderr)
            for _ in range(100):
                await asyncio.sleep(0.05)
                if (await manifests(r))[-1].id != newest.id:
                    break
        raise TimeoutError("the compaction did not finish")

    async def handle(self, line):
        request = json.loads(line)
        try:
            result = await getattr(self, "op_" + request["op"])(request)
            self.out({"id": request["id"], "result": result})
        except u.Error as error:
            reason = getattr(error, "reason", None)
            self.out({"id": request["id"], "error": {
                "kind": type(error).__name__, "message": getattr(error, "message", str(error)),
                **({} if reason is None else {"reason": reason.name.capitalize()})}})
        except Exception as error:
            self.out({"id": request["id"], "error": {"kind": "Driver", "message": f"{type(error).__name__}: {error}"}})


async def main():
    driver, loop, lines = Driver(), asyncio.get_running_loop(), asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        # A crash for an open database; nothing is flushed any more.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        await driver.handle(await lines.get())


asyncio.run(main())
