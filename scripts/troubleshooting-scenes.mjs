// The scenes of docs/troubleshooting.md, docs/tools.md and README.md: each provokes an error, or makes a database, as a user would
// see it and returns what is printed.
//
// All run in memory and in virtual time with seeded randomness, so they print the same on every machine. Only what is public
// is used, from the source itself, so that no build is needed.
import * as admin from '../src/admin.ts';
import { runCommandLine } from '../src/cli/run.ts';
import { MemoryStore, open, openReader, storeError, WriteBatch } from '../src/index.ts';
import { FaultyStore, ManualClock, SeededRandom } from '../src/testing.ts';
import { goldenFixture } from '../test/support/golden-fixtures.ts';

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
/** How the location is written in the commands. */
const SHOWN = 'file:///var/lib/db';
const PATH = 'db';

/** A store of its own with a database in it, in virtual time. */
class Stage {
  clock = new ManualClock();
  random = new SeededRandom(1);
  memory = new MemoryStore({ clock: this.clock });
  faults = new FaultyStore(this.memory, { clock: this.clock, random: this.random });
  location = { store: this.faults, path: PATH };

  settle(promise) {
    return this.clock.runUntilSettled(promise);
  }
  open(options = {}, how = open) {
    // It stands in seals, so it must not be that of this process. Readers have none.
    const owner = how === open ? { owner: 'web-1:4711' } : {};
    return this.settle(
      how(this.location, { clock: this.clock, random: this.random, logger: SILENT, ...owner, ...options }),
    );
  }
  reader(options = {}) {
    return this.open(options, openReader);
  }
  async paths(kind) {
    const paths = [];
    for await (const { path } of this.memory.list(`${PATH}/${kind}/`)) paths.push(path);
    return paths;
  }
  async bytes(path) {
    return (await this.memory.get(path)).bytes.slice();
  }
  async replace(path, bytes) {
    await this.memory.put(path, bytes, { condition: 'any', putId: '00000000000000000000000000' });
  }
  async flip(path, at) {
    const bytes = await this.bytes(path);
    bytes[at] ^= 1;
    await this.replace(path, bytes);
  }
  /** 500 rows in one table, and nothing in the log after it. */
  async table(options) {
    const db = await this.open(options);
    await this.settle(db.write(rows(0, 500)));
    await this.settle(db.close());
    return (await this.paths('compacted'))[0];
  }
  /** A database that SlateDB wrote, from test/golden, with the others of its fixture; `root` is its path there. */
  async golden(name, root = PATH) {
    for (const { path, bytes } of goldenFixture(name).objects)
      await this.replace(path.startsWith(`${root}/`) ? PATH + path.slice(root.length) : path, bytes);
  }
  /** A log of four objects with four rows each, its writer idle; then the paths of its objects, the first a fence. */
  async log() {
    const db = await this.open();
    this.writer = db;
    for (let i = 0; i < 4; i++) await this.settle(db.write(rows(i * 4, 4)));
    return this.paths('wal');
  }
  /** What `shaledb` prints for these words, where LOCATION is this database. */
  async shaledb(line) {
    const words = line.split(' ').map((w) => (w === 'LOCATION' ? SHOWN : w));
    const typed = line.replace('LOCATION', SHOWN);
    let printed = '';
    const output = { write: (text) => void (printed += text), isTerminal: false, columns: 100, isClosed: () => false };
    const options = { clock: this.clock, random: this.random, logger: SILENT, owner: 'host:4711' };
    const tools = new Proxy(admin, {
      get: (all, name) => {
        if (typeof all[name] !== 'function') return all[name];
        // Every command gives every tool its options, as the last parameter.
        return (target, ...rest) => {
          const own = rest.pop();
          return all[name](target === SHOWN ? this.location : target, ...rest, { ...own, ...options });
        };
      },
    });
    const host = {
      out: output,
      err: output,
      env: { NO_COLOR: '1' },
      cwd: '/',
      tools,
      version: '',
      monotonicMs: () => 0,
      readFile: () => undefined,
      nowMs: () => this.clock.nowMs(),
    };
    const code = await this.settle(runCommandLine(words, host));
    return `$ shaledb ${typed}\n${printed.replaceAll('memory:/db (db)', `${SHOWN} (var/lib/db)`)}$ echo $?\n${code}\n`;
  }
}

function rows(from, count) {
  const batch = new WriteBatch();
  for (let i = from; i < from + count; i++) batch.put(`key/${String(i).padStart(4, '0')}`, `value ${i}`);
  return batch;
}

/** The error as a program prints it. */
async function failure(run) {
  const stage = new Stage();
  let error;
  try {
    await run(stage);
  } catch (e) {
    error = e;
  }
  if (error === undefined) throw new Error('the scene ended without an error');
  if (error.code === undefined) throw error;
  return print(error);
}

function print(error) {
  const lines = [`${error.name} ${error.code}: ${error.message}`];
  if (error.outcome !== undefined) lines.push(`  outcome: ${error.outcome}`);
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if (cause.message === error.message) continue;
    lines.push(`  cause: ${cause.name}${cause.code === undefined ? '' : ` ${cause.code}`}: ${cause.message}`);
  }
  return `${lines.join('\n')}\n`;
}

/** A store all of whose requests fail in one way. */
const broken = (cls, message) => async (stage) => {
  const store = {
    name: 's3://bucket',
    conformance: 'known',
    ...Object.fromEntries(
      ['get', 'head', 'put', 'delete'].map((op) => [
        op,
        async (path) => {
          throw storeError({ cls, message, store: 's3://bucket', path: String(path) });
        },
      ]),
    ),
    // biome-ignore lint/correctness/useYield: it fails before it lists anything
    async *list(path) {
      throw storeError({ cls, message, store: 's3://bucket', path });
    },
  };
  stage.location = { store, path: PATH };
  await stage.open({ timeoutMs: 1000 });
};

/** A log of four batches of four rows, 30 bytes of the second overwritten. */
async function damagedLog() {
  const s = new Stage();
  const log = await s.log();
  const bytes = await s.bytes(log[2]);
  await s.replace(log[2], bytes.fill(0, 30, 60));
  return s;
}

/** The lines of an output that draw a map. */
const maps = (output) => output.split('\n').filter((line) => /^(file|keys|log) +\S+$/.test(line));

/** A run of merged rows, and a damaged and a good table of level 0 above it. */
async function grownTree() {
  const s = new Stage();
  const db = await s.open({ compactor: { maxSstBytes: 65_536 }, gc: false });
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 20; j++) await s.settle(db.write(rows(i * 2000 + j * 100, 100)));
    await s.settle(db.flush({ type: 'memtable' }));
  }
  await s.settle(db.compact());
  const merged = new Set(await s.paths('compacted'));
  await s.settle(db.write(rows(3000, 1500)));
  await s.settle(db.flush({ type: 'memtable' }));
  const [damaged] = (await s.paths('compacted')).filter((path) => !merged.has(path));
  const batch = new WriteBatch();
  for (let i = 500; i < 700; i++) batch.put(`key/${String(i).padStart(4, '0')}`, 'newer');
  for (let i = 700; i < 720; i++) batch.delete(`key/${String(i).padStart(4, '0')}`);
  await s.settle(db.write(batch));
  await s.settle(db.close());
  const bytes = await s.bytes(damaged);
  await s.replace(damaged, bytes.fill(0, bytes.length - 60));
  return s;
}

export const SCENES = {
  'tools-maps': async () => {
    const s = new Stage();
    const table = await s.table();
    await s.flip(table, 5000);
    const inspected = await s.shaledb(`sst inspect LOCATION ${table.slice(-30, -4)}`);
    const log = await (await damagedLog()).shaledb('wal inspect LOCATION');
    return [...maps(inspected), ...maps(log)].join('\n');
  },
  'tools-tree': async () => (await grownTree()).shaledb('tree LOCATION'),
  'readme-doctor': async () => (await damagedLog()).shaledb('doctor LOCATION'),
  'cli-log-damage-repair': async () => (await damagedLog()).shaledb('wal repair LOCATION'),
  BAD_ARGUMENT: () => failure(() => open('/var/lib/db')),
  BAD_OPTION: () => failure((s) => s.open({ memoryBytes: '64 MiB', flushEvery: 10 })),
  KEY_TOO_LARGE: () => failure(async (s) => (await s.open()).put('k'.repeat(70_000), 'v')),
  VALUE_TOO_LARGE: () => failure(async (s) => (await s.open()).put('k', new Uint8Array(2 ** 28 + 1))),
  BATCH_TOO_LARGE: () =>
    failure(async (s) => {
      const db = await s.open({ memoryBytes: 16 * 2 ** 20 });
      const batch = new WriteBatch();
      for (let i = 0; i < 20; i++) batch.put(`k${i}`, new Uint8Array(2 ** 20));
      await s.settle(db.write(batch));
    }),
  STORE_MISSING: () => failure(broken('missing', 'the bucket does not exist')),
  NOT_A_DATABASE: () => failure((s) => s.open({ createIfMissing: false })),
  ALREADY_EXISTS: () =>
    failure(async (s) => {
      await s.table();
      await s.open({ errorIfExists: true });
    }),
  STORE_DENIED: () => failure(broken('denied', 'Access Denied')),
  STORE_UNSUITABLE: () =>
    failure(async (s) => {
      // A server that takes conditional requests and ignores the condition.
      const store = new Proxy(s.memory, {
        get: (target, name) => {
          if (name === 'conformance') return undefined;
          if (name === 'put') return (path, bytes, o) => target.put(path, bytes, { ...o, condition: 'any' });
          return typeof target[name] === 'function' ? target[name].bind(target) : target[name];
        },
      });
      s.location = { store, path: PATH };
      await s.open();
    }),
  CONDITION_FAILED: () =>
    failure(async (s) => {
      const db = await s.open();
      await s.settle(db.put('user/ada', 'first'));
      await s.settle(db.put('user/ada', 'second', { ifAbsent: true }));
    }),
  WRITER_FENCED: () =>
    failure(async (s) => {
      const first = await s.open();
      await s.open({ owner: 'web-2:4712' });
      await s.settle(first.put('k', 'v'));
    }),
  CLOSED: () =>
    failure(async (s) => {
      const db = await s.open();
      await s.settle(db.close());
      await s.settle(db.put('k', 'v'));
    }),
  FAILED: () =>
    failure(async (s) => {
      const db = await s.open();
      await s.settle(db.put('k', 'v'));
      // An object that is not a manifest has the name of the next one.
      await s.replace((await s.paths('manifest')).at(-1).replace('2.manifest', '3.manifest'), new Uint8Array(100));
      await s.settle(db.flush({ type: 'memtable' }).catch(() => undefined));
      await s.settle(db.put('k', 'v'));
    }),
  STORE_TIMEOUT: () =>
    failure((s) => {
      s.faults.add({ action: 'stall' });
      return s.open({ timeoutMs: 5000 });
    }),
  STORE_THROTTLED: () =>
    failure((s) => {
      s.faults.add({ action: 'throttle' });
      return s.open({ timeoutMs: 5000 });
    }),
  STORE_DOWN: () =>
    failure((s) => {
      s.faults.add({ action: 'fail-before' });
      return s.open({ timeoutMs: 5000 });
    }),
  STORE_AUTH: () => failure(broken('auth', 'The provided token has expired')),
  STORE_FULL: () => failure(broken('full', 'no space left on device')),
  WRITE_OUTCOME_UNKNOWN: () =>
    failure((s) => {
      s.faults.add({ action: 'apply-then-drop', op: 'put', path: /manifest/ });
      s.faults.add({ action: 'fail-before', op: 'head', path: /manifest/ });
      s.faults.add({ action: 'fail-before', op: 'get', path: /manifest\/0*[12]\.manifest/ });
      return s.open({ timeoutMs: 5000 });
    }),
  OVERLOADED: () =>
    failure(async (s) => {
      const db = await s.open({ memoryBytes: 16 * 2 ** 20, writeTimeoutMs: 1000 });
      s.faults.add({ action: 'stall', op: 'put' });
      const value = new Uint8Array(2 ** 20);
      for (let i = 0; i < 20; i++) await s.settle(db.put(`k${i}`, value, { awaitDurable: false }));
    }),
  DEADLINE: () =>
    failure(async (s) => {
      const db = await s.open({ closeTimeoutMs: 2000 });
      s.faults.add({ action: 'stall', op: 'put' });
      db.put('k', 'v').catch(() => undefined);
      await s.settle(db.close());
    }),
  RECOVERING: () =>
    failure(async (s) => {
      await s.flip((await s.log())[2], 20);
      const db = await s.open({ walAutoRecovery: true, timeoutMs: 1000 });
      await s.settle(db.get('key/0001'));
    }),
  FORMAT_TOO_NEW: () =>
    failure(async (s) => {
      await s.golden('slatedb-0.12.1/tiny');
      const newest = (await s.paths('manifest')).at(-1);
      const bytes = await s.bytes(newest);
      bytes[1] = 9;
      await s.replace(newest, bytes);
      await s.open();
    }),
  SEGMENTS_UNSUPPORTED: () =>
    failure(async (s) => {
      await s.golden('slatedb-0.17.0/segments');
      await s.open();
    }),
  PROFILE_UNSUITABLE: () =>
    failure(async (s) => {
      await s.golden('slatedb-0.17.0/union-same-views', 'union');
      await s.open({ compatibility: 'slatedb-0.12' });
    }),
  MERGE_OPERATOR_MISSING: () => failure(async (s) => (await s.open()).merge('k', '1')),
  NOT_ENCODABLE: () => failure(async (s) => (await s.open({ valueEncoding: 'json' })).put('user/1', { id: 1n })),
  NOT_DECODABLE: () =>
    failure(async (s) => {
      const db = await s.open();
      await db.put('user/1', 'Ada');
      await db.close();
      await (await s.open({ valueEncoding: 'json', encodingCheck: 'replace' })).get('user/1');
    }),
  ENCODING_MISMATCH: () =>
    failure(async (s) => {
      await (await s.open({ keyEncoding: 'utf8', valueEncoding: 'json' })).close();
      await s.open();
    }),
  ABORTED: () =>
    failure(async (s) => {
      const db = await s.open();
      s.faults.add({ action: 'stall', op: 'put' });
      const controller = new AbortController();
      const put = db.put('k', 'v', { signal: controller.signal });
      controller.abort(new Error('the user left'));
      await s.settle(put);
    }),
  'log-bit': () =>
    failure(async (s) => {
      const log = await s.log();
      await s.flip(log[2], 20);
      await s.open();
    }),
  'log-hole': () =>
    failure(async (s) => {
      const log = await s.log();
      await s.memory.delete([log[2]]);
      await s.open();
    }),
  'log-cut': () =>
    failure(async (s) => {
      const log = await s.log();
      await s.replace(log[2], (await s.bytes(log[2])).subarray(0, 10));
      await s.open();
    }),
  'log-swapped': () =>
    failure(async (s) => {
      const log = await s.log();
      await s.replace(log[2], await s.bytes(log[3]));
      await s.open();
    }),
  'manifest-bit': () =>
    failure(async (s) => {
      await s.table();
      await s.flip((await s.paths('manifest')).at(-1), 30);
      await s.open();
    }),
  'manifest-rolled-back': () =>
    failure(async (s) => {
      await s.table();
      await s.memory.delete((await s.paths('manifest')).slice(1));
      await s.open();
    }),
  'manifests-gone': () =>
    failure(async (s) => {
      await s.table();
      await s.memory.delete(await s.paths('manifest'));
      await s.open();
    }),
  'table-bit': () =>
    failure(async (s) => {
      const table = await s.table();
      // More than can be undone: rows of the middle of a block are gone.
      await s.replace(table, (await s.bytes(table)).fill(0, 6000, 6400));
      await s.settle((await s.open()).get('key/0200'));
    }),
  'table-gone': () =>
    failure(async (s) => {
      await s.memory.delete([await s.table()]);
      await s.settle((await s.open()).get('key/0200'));
    }),
  'table-swapped': () =>
    failure(async (s) => {
      const table = await s.table();
      const db = await s.open();
      await s.settle(db.write(rows(500, 500)));
      await s.settle(db.close());
      const other = (await s.paths('compacted')).find((p) => p !== table);
      await s.replace(other, await s.bytes(table));
      await s.settle((await s.open()).get('key/0700'));
    }),
  'cli-log-hole': async () => {
    const s = new Stage();
    const log = await s.log();
    await s.memory.delete([log[2]]);
    return s.shaledb('wal inspect LOCATION');
  },
  'cli-log-repair': async () => {
    const s = new Stage();
    const log = await s.log();
    await s.memory.delete([log[2]]);
    return s.shaledb('wal repair LOCATION');
  },
  'cli-manifest-repair': async () => {
    const s = new Stage();
    await s.table();
    await s.flip((await s.paths('manifest')).at(-1), 30);
    return s.shaledb('manifest repair LOCATION');
  },
  'cli-table-check': async () => {
    const s = new Stage();
    await s.flip(await s.table(), 5000);
    return s.shaledb('sst check LOCATION');
  },
  'cli-table-inspect': async () => {
    const s = new Stage();
    const table = await s.table();
    await s.flip(table, 5000);
    return s.shaledb(`sst inspect LOCATION ${table.slice(-30, -4)}`);
  },
  'cli-table-repair': async () => {
    const s = new Stage();
    const table = await s.table();
    await s.flip(table, 5000);
    return s.shaledb(`sst repair LOCATION ${table.slice(-30, -4)}`);
  },
  'cli-seal': async () => {
    const s = new Stage();
    const table = await s.table();
    const bytes = await s.bytes(table);
    // In the last record of the seal, before the info block.
    await s.flip(table, bytes.length - 150);
    return s.shaledb('doctor LOCATION');
  },
  PLAN_CHANGED: async () => {
    const s = new Stage();
    await s.flip((await s.log())[2], 20);
    return s.shaledb('wal repair LOCATION --apply --plan p-0123456789abcdef01234567');
  },
  LIVE_WRITER: async () => {
    const s = new Stage();
    await s.flip((await s.log())[2], 20);
    s.clock.setTimer(3000, () => void s.writer.put('later', 'value'));
    return s.shaledb('wal repair LOCATION --apply');
  },
  'wrong-table': async () => {
    const s = new Stage();
    await s.table();
    return s.shaledb('sst inspect LOCATION 01JC0000000000000000000000');
  },
  'no-database': () => new Stage().shaledb('doctor LOCATION'),
};
