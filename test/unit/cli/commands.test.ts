/** What commands pass to the tools, what they print, and with which code they end. */
import { describe, expect, it } from 'vitest';
import type { RepairReport, VerifyOptions } from '../../../src/admin.ts';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { EXIT, exitOfError, exitOfRepair } from '../../../src/cli/exit-codes.ts';
import { FILES } from '../../../src/cli/files.ts';
import type { Tools } from '../../../src/cli/tools.ts';
import {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  errorFromJson,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  UnavailableError,
  WalCorruptionError,
} from '../../../src/index.ts';
import { runWith, stream } from '../../support/command-line.ts';
import {
  checkSummary,
  damagedLog,
  damagedTable,
  key,
  ledgerEntries,
  manifestReport,
  quarantineEntries,
  repairReport,
  storeProfile,
  TABLE_ID,
  tableFinding,
  verifyReport,
  walFinding,
  walObject,
} from '../../support/report-samples.ts';

const DB = 'file:///db';

/** What a tool was called with. */
function spy<K extends keyof Tools>(name: K, result: unknown): { tools: Partial<Tools>; calls: unknown[][] } {
  const calls: unknown[][] = [];
  const tool = (...args: unknown[]) => {
    calls.push(args);
    return result;
  };
  return { tools: { [name]: tool } as Partial<Tools>, calls };
}

const documents = (out: string) =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the exit code of a repair', () => {
  const lossless = { rows: { ...repairReport().rows, lost: 0 } };
  it.each<[string, Partial<RepairReport>, boolean, number]>([
    ['nothing to do', { outcome: 'clean' }, false, 0],
    ['nothing to do, applied', { outcome: 'clean' }, true, 0],
    ['a plan', { outcome: 'healed' }, false, 1],
    ['a plan that cannot save anything', { outcome: 'unrecoverable' }, false, 5],
    ['a plan that waits for a consent', { outcome: 'consent-needed' }, false, 1],
    ['done, nothing lost', { outcome: 'healed', applied: true, ...lossless }, true, 3],
    ['done, rows lost', { applied: true }, true, 4],
    ['done, loss recorded whose rows are not counted', { applied: true, ...lossless, ledgerIds: ['f-1'] }, true, 4],
    ['done before', { applied: true, alreadyDone: true, ...lossless }, true, 3],
    ['refused', {}, true, 5],
    ['the table is not used any more', { outcome: 'obsolete' }, true, 6],
    ['the table is not used any more, planned', { outcome: 'obsolete' }, false, 6],
  ])('%s', (_, more, wanted, code) => {
    expect(exitOfRepair(repairReport(more), wanted)).toBe(code);
  });
});

describe('the exit code of an error', () => {
  const down = new UnavailableError('STORE_DOWN', 'down');
  it.each<[string, unknown, number, number]>([
    ['a wrong location', new InvalidArgumentError('BAD_ARGUMENT', 'x'), 2, 2],
    ['no database', new InvalidArgumentError('NOT_A_DATABASE', 'x'), 2, 2],
    ['no permission', new InvalidArgumentError('STORE_DENIED', 'x'), 2, 2],
    ['a codec that is missing', new IncompatibleError('CODEC_MISSING', 'x'), 2, 2],
    ['a newer form', new IncompatibleError('FORMAT_TOO_NEW', 'x'), 8, 8],
    ['damage', new CorruptionError('x', [tableFinding()]), 1, 5],
    ['a live writer', new ConflictError('LIVE_WRITER', 'x'), 6, 6],
    ['a takeover', new FencedError('WRITER_FENCED', 'x'), 6, 6],
    ['a store that is away', down, 7, 7],
    ['a full store', new UnavailableError('STORE_FULL', 'x'), 7, 7],
    ['a failure kept as a cause', new ClosedError('FAILED', 'x', { cause: down }), 7, 7],
    ['an abort', new AbortError(), 130, 130],
    ['a broken invariant', new InternalError('x'), 70, 70],
    ['a bug', new TypeError('x is not a function'), 70, 70],
    ['something thrown that is no error', 'x', 70, 70],
  ])('%s', (_, error, inspecting, repairing) => {
    expect([exitOfError(error, false), exitOfError(error, true)]).toEqual([inspecting, repairing]);
  });
});

describe('wal inspect', () => {
  it('passes its options on and ends with 1 over damage', async () => {
    const { tools, calls } = spy('walInspect', stream(damagedLog()));
    const words = ['wal', 'inspect', DB, '--from', '1', '--to', '18446744073709551615', '--rows', 'keys'];
    const { code, out } = await runWith(words, { tools });
    expect(code).toBe(EXIT.damage);
    expect(calls).toEqual([[DB, { from: 1n, to: 2n ** 64n - 1n, rows: 'keys' }]]);
    expect(out).toContain(`shaledb wal repair ${DB}`);
  });
  it('gives one line of JSON for each object and each row', async () => {
    const rows = [{ seq: 8n, key: key('a'), op: 'put', valueBytes: 3, trust: 'good' } as const];
    const objects = [walObject(1n, { entries: stream(rows) }), walObject(2n)];
    const words = ['wal', 'inspect', DB, '--rows', 'keys', '--json'];
    const { code, out } = await runWith(words, { tools: { walInspect: () => stream(objects) } });
    expect(code).toBe(EXIT.clean);
    const lines = documents(out);
    expect(lines.map((l) => [l['schemaVersion'], l['type']])).toEqual([
      [1, 'wal-object'],
      [1, 'wal-row'],
      [1, 'wal-object'],
      [1, 'wal-summary'],
    ]);
    expect(lines[3]).toMatchObject({ verdict: 'clean', objects: 2, first: { $bigint: '1' }, last: { $bigint: '2' } });
    expect(lines[0]).toMatchObject({ id: { $bigint: '1' }, state: 'ok' });
    expect(lines[1]).toMatchObject({ objectId: { $bigint: '1' }, seq: { $bigint: '8' }, key: { $bytes: 'YQ' } });
  });
  it('gives the sums also where there is no object', async () => {
    const { code, out } = await runWith(['wal', 'inspect', DB, '--json'], { tools: { walInspect: () => stream([]) } });
    expect(code).toBe(EXIT.clean);
    expect(documents(out)).toEqual([
      expect.objectContaining({ type: 'wal-summary', verdict: 'clean', objects: 0, rows: 0, findings: {} }),
    ]);
  });
  it('calls a log empty only where all of it was asked for', async () => {
    const tools = { walInspect: () => stream([]) };
    const said = async (...words: string[]) => (await runWith(['wal', 'inspect', DB, ...words], { tools })).out;
    expect(await said()).toBe('The log is empty.\n');
    const all = `All of it: shaledb wal inspect ${DB}\n`;
    expect(await said('--from', '900')).toBe(
      `The log has no object from 900 on; this says nothing about the others.\n${all}`,
    );
    expect(await said('--from', '7', '--to', '9')).toContain('no object from 7 up to 9;');
    expect(await said('--to', '3')).toContain('no object up to 3;');
    const { code, err } = await runWith(['wal', 'inspect', DB, '--from', '9', '--to', '5'], { tools });
    expect([code, err]).toEqual([EXIT.usage, expect.stringContaining('--from 9 is after --to 5')]);
  });
  it('takes a copy of one object', async () => {
    const { tools, calls } = spy('walInspect', stream([]));
    const files = { './00000000000000000017.sst': key('bytes') };
    await runWith(['wal', 'inspect', '--file', './00000000000000000017.sst'], { tools, files });
    expect(calls).toEqual([[undefined, { raw: [{ id: 17n, bytes: key('bytes') }] }]]);
  });
  it('stops when nobody reads any more', async () => {
    let read = 0;
    async function* endless() {
      for (;;) yield walObject(BigInt(++read));
    }
    const options = { tools: { walInspect: endless }, closedAfter: 3 };
    const { code } = await runWith(['wal', 'inspect', DB, '--json'], options);
    expect([code, read]).toEqual([EXIT.readerGone, 4]);
  });
  it('reports progress on standard error, on a terminal, unless it is to be quiet', async () => {
    const tools = { walInspect: () => stream([walObject(1n)]) };
    const words = ['wal', 'inspect', DB];
    const env = { NO_COLOR: '1' };
    expect((await runWith(words, { tools, env, isTerminal: true })).err).toContain('object 1 of the log');
    expect((await runWith([...words, '--quiet'], { tools, env, isTerminal: true })).err).toBe('');
    expect((await runWith(words, { tools, env })).err).toBe('');
  });
  it('reports how far a check has come', async () => {
    const verify = async (_target: unknown, options?: VerifyOptions) => {
      const onProgress = options?.onProgress;
      onProgress?.({ part: 'tables', done: 12, of: 3400, bytesRead: 5 * 1024 * 1024 });
      onProgress?.({ part: 'log', done: 7, bytesRead: 6 * 1024 * 1024 });
      return verifyReport();
    };
    const { err } = await runWith(['doctor', DB], { tools: { verify }, env: { NO_COLOR: '1' }, isTerminal: true });
    expect(err).toContain('checking tables: 12 of 3,400, 5.0 MiB read');
    expect(err).toContain('checking the log: 7, 6.0 MiB read');
  });
});

const PLAN = 'p-0123456789abcdef01234567';

describe('repairs', () => {
  it.each(['xx', 'p-1', 'p-0123456789ABCDEF01234567', `${PLAN}0`])('take no hash like %s', async (hash) => {
    const { tools, calls } = spy('walRepair', Promise.resolve(repairReport({ tool: 'walRepair' })));
    const { code, err } = await runWith(['wal', 'repair', DB, '--apply', '--plan', hash], { tools });
    expect(code).toBe(EXIT.usage);
    expect(err).toContain(hash);
    expect(calls).toEqual([]);
  });
  it('are dry runs unless they are to be applied', async () => {
    const { tools, calls } = spy('walRepair', Promise.resolve(repairReport({ tool: 'walRepair' })));
    const limits = ['--max-lost-rows', '0', '--max-lost-objects', '2', '--mode', 'truncate', '--accept', 'verified'];
    expect((await runWith(['wal', 'repair', DB, ...limits], { tools })).code).toBe(EXIT.damage);
    await runWith(['wal', 'repair', DB, '--apply', '--if-live-writer', 'fence'], { tools });
    await runWith(['wal', 'repair', DB, '--apply', '--plan', PLAN], { tools });
    expect(calls.map((c) => c[1])).toEqual([
      { apply: false, mode: 'truncate', accept: 'verified', maxLoss: { rows: 0, walObjects: 2 } },
      { apply: true, ifLiveWriter: 'fence' },
      { apply: { planHash: PLAN } },
    ]);
  });
  it('name the whole command that does exactly what was planned', async () => {
    const location = 's3://b/db?endpoint=http://h:9000&forcePathStyle=true';
    const tools = { sstRepair: async () => repairReport() };
    const { out } = await runWith(['sst', 'repair', location, TABLE_ID, '--on-loss=mark', '--quiet'], { tools });
    expect(out).toContain(
      `  shaledb sst repair '${location}' ${TABLE_ID} --on-loss=mark --quiet --apply --plan 5f3a09c1\n`,
    );
  });
  it('pass all their options on', async () => {
    const { tools, calls } = spy('sstRepair', Promise.resolve(repairReport({ outcome: 'obsolete' })));
    const words = `sst repair ${DB} ${TABLE_ID} --sources reread,heal --accept probable --on-loss refuse --accept-resurrection --filter-form legacy --if-live-writer refuse --live-check-ms 0`;
    expect((await runWith(words.split(' '), { tools })).code).toBe(EXIT.conflict);
    const options = { apply: false, sources: ['reread', 'heal'], accept: 'probable', onLoss: 'refuse' };
    expect(calls).toEqual([
      [
        DB,
        TABLE_ID,
        { ...options, acceptResurrection: true, filterForm: 'legacy', ifLiveWriter: 'refuse', liveCheckMs: 0 },
      ],
    ]);
  });
  it('of the log take the writer epoch to take over from', async () => {
    const { tools, calls } = spy('walRepair', Promise.resolve(repairReport()));
    await runWith(['wal', 'repair', DB, '--expected-epoch', '7'], { tools });
    expect(calls).toEqual([[DB, { apply: false, expectedEpoch: 7n }]]);
  });
  it('that a live writer refuses name the flag that takes over, in a whole command', async () => {
    const tools = {
      walRepair: async () => {
        throw new ConflictError('LIVE_WRITER', 'somebody works here');
      },
    };
    const words = ['wal', 'repair', DB, '--apply', '--plan', PLAN];
    const { code, err } = await runWith(words, { tools });
    expect(code).toBe(EXIT.conflict);
    expect(err).toContain(`  shaledb ${words.join(' ')} --if-live-writer fence\n`);
  });
  it('of manifests and from quarantine are called alike', async () => {
    const manifest = spy('manifestRepair', Promise.resolve(repairReport({ outcome: 'clean' })));
    const words = ['manifest', 'repair', DB, '--strategy', 'roll-forward'];
    expect((await runWith(words, { tools: manifest.tools })).code).toBe(EXIT.clean);
    expect(manifest.calls).toEqual([[DB, { apply: false, strategy: 'roll-forward' }]]);
    const restore = spy('quarantineRestore', Promise.resolve(repairReport({ applied: true })));
    expect((await runWith(['quarantine', 'restore', DB, 'r-1', '--apply'], { tools: restore.tools })).code).toBe(4);
    expect(restore.calls).toEqual([[DB, 'r-1', { apply: true }]]);
  });
  it('are one JSON document', async () => {
    const tools = { walRepair: async () => repairReport() };
    const { out } = await runWith(['wal', 'repair', DB, '--json', '--redact-keys'], { tools });
    expect(documents(out)).toEqual([
      expect.objectContaining({ schemaVersion: 1, type: 'repair', planHash: '5f3a09c1', applied: false }),
    ]);
    expect(documents(out)[0]['lostKeys']).toEqual([{ gte: { $redacted: 8 }, lte: { $redacted: 8 } }]);
    expect(out).not.toContain(Buffer.from('key/0140').toString('base64url'));
  });
});

describe('sst', () => {
  const run = (findings = [tableFinding()], summary = checkSummary()) =>
    Object.assign(stream(findings), { summary: async () => summary });

  it('check draws damage over the tables of the newest manifest', async () => {
    const calls: unknown[] = [];
    const tools: Partial<Tools> = {
      sstCheck: (...args) => {
        calls.push(args);
        return run();
      },
      manifestInspect: async () => manifestReport(),
    };
    const words = `sst check ${DB} --level rows --scope all --concurrency 4 --bytes-per-second 5 --resume-from c`;
    const { code, out } = await runWith(words.split(' '), { tools });
    expect(code).toBe(EXIT.damage);
    const progress = { onProgress: expect.any(Function) };
    expect(calls).toEqual([
      [DB, { ...progress, level: 'rows', scope: 'all', concurrency: 4, bytesPerSecond: 5, resumeFrom: 'c' }],
    ]);
    expect(out).toMatch(/^L0 \.\.00000000 +-+X+-+$/m);
  });
  it('check shows findings also where the manifest cannot be read', async () => {
    const tools: Partial<Tools> = {
      sstCheck: () => run(),
      manifestInspect: async () => {
        throw new CorruptionError('bad', [walFinding()]);
      },
    };
    const { code, out } = await runWith(['sst', 'check', DB], { tools });
    expect(code).toBe(EXIT.damage);
    expect(out).toContain('error BAD_CHECKSUM');
  });
  it('check that finds only warnings ends with 1, one that finds nothing with 0', async () => {
    const ends = async (verdict: 'clean' | 'degraded') =>
      (await runWith(['sst', 'check', DB, '--json'], { tools: { sstCheck: () => run([], checkSummary({ verdict })) } }))
        .code;
    expect([await ends('degraded'), await ends('clean')]).toEqual([1, 0]);
  });
  it('inspect takes a table of a database, or a file', async () => {
    const { tools, calls } = spy('sstInspect', Promise.resolve({ ...damagedTable(), rows: stream([]) }));
    const files = { './a.sst': key('bytes') };
    await runWith(['sst', 'inspect', DB, TABLE_ID, '--rows'], { tools });
    const { code } = await runWith(['sst', 'inspect', '--file', './a.sst', '--json'], { tools, files });
    expect(code).toBe(EXIT.damage);
    expect(calls).toEqual([
      [DB, TABLE_ID, { rows: true }],
      ['memory:', { bytes: key('bytes') }, {}],
    ]);
  });
});

describe('ledger and quarantine', () => {
  it('an open loss is damage, an acknowledged one is not', async () => {
    const all = ledgerEntries();
    const codeOf = async (entries: typeof all) =>
      (await runWith(['damage', 'list', DB], { tools: { damageList: async () => entries } })).code;
    expect([await codeOf(all), await codeOf(all.slice(1)), await codeOf([])]).toEqual([1, 0, 0]);
  });
  it('a loss is acknowledged with a note', async () => {
    const { tools, calls } = spy('damageAcknowledge', Promise.resolve());
    const { code, out } = await runWith(['damage', 'ack', DB, 'f-1', '--note', 'known'], { tools });
    expect([code, out, calls]).toEqual([0, 'Acknowledged f-1.\n', [[DB, 'f-1', 'known', {}]]]);
  });
  it('copies are listed', async () => {
    const tools = { quarantineList: async () => quarantineEntries() };
    const { out } = await runWith(['quarantine', 'list', DB, '--json'], { tools });
    expect(documents(out)[0]).toMatchObject({
      schemaVersion: 1,
      type: 'quarantine-list',
      entries: [{ bytes: 17_900 }],
    });
  });
});

describe('doctor and probe', () => {
  it('the verdict is the code, and every finding comes with its next command', async () => {
    const tools = { verify: async () => verifyReport(), manifestInspect: async () => manifestReport() };
    const { code, out } = await runWith(['doctor', DB], { tools });
    expect(code).toBe(EXIT.damage);
    expect(out.match(/^ {2}next {6}shaledb /gm)).toHaveLength(2);
    const clean = { verify: async () => verifyReport({ verdict: 'clean', findings: [] }) };
    expect((await runWith(['doctor', DB], { tools: clean })).code).toBe(EXIT.clean);
  });
  it('the level is passed on, and whether the store is to be tried', async () => {
    const { tools, calls } = spy('verify', Promise.resolve(verifyReport()));
    await runWith(['doctor', DB, '--level', 'cross', '--probe', '--json'], { tools });
    expect(calls).toEqual([[DB, { onProgress: expect.any(Function), level: 'cross', probe: true }]]);
  });
  it('a store that is not suitable is damage', async () => {
    const codeOf = async (conditionalCreate: boolean) =>
      (await runWith(['probe', DB], { tools: { probe: async () => storeProfile({ conditionalCreate }) } })).code;
    expect([await codeOf(true), await codeOf(false)]).toEqual([0, 1]);
  });
});

it('the time limit of requests goes to every tool', async () => {
  const limits: unknown[] = [];
  const tools = new Proxy({} as Partial<Tools>, {
    get:
      () =>
      (...args: unknown[]) => {
        limits.push((args.at(-1) as { timeoutMs?: number }).timeoutMs);
        throw new UnavailableError('STORE_TIMEOUT', 'x');
      },
  });
  const operands: Record<string, string> = { LOCATION: DB, ID: '1', REPAIR: 'r-1', KEY: 'k', VALUE: 'v', FILE: '-' };
  const fileAccess = { ...FILES, lines: () => stream([]) };
  const ofDatabases = COMMANDS.filter(({ operands: wanted }) => wanted[0]?.name === 'LOCATION');
  for (const { name, operands: wanted, options } of ofDatabases) {
    const note = 'note' in options ? ['--note', 'x'] : [];
    const words = [
      ...name,
      ...wanted.filter((o) => o.optional !== true || name[0] !== 'manifest').map((o) => operands[o.name]),
    ];
    expect((await runWith([...words, ...note, '--timeout-ms', '1234'], { tools, fileAccess })).code).toBe(
      EXIT.unavailable,
    );
  }
  expect(limits).toEqual(ofDatabases.map(() => 1234));
});

describe('a failure', () => {
  const failing = (error: unknown) => ({
    verify: async () => {
      throw error;
    },
    walRepair: async () => {
      throw error;
    },
  });

  it('is reported on standard error with class, code, cause and findings', async () => {
    const wal = { replayAfter: 1n, end: 4n, damagedIds: [], missingIds: [3n], lostSeqs: [], recoverableRows: 8 };
    const error = new WalCorruptionError('The log has a hole.', [walFinding()], wal, { cause: new Error('because') });
    const { code, out, err } = await runWith(['doctor', DB], { tools: failing(error) });
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('WalCorruptionError MISSING_OBJECT: The log has a hole.\n  because: because\n');
    expect(err).toContain(`shaledb wal repair ${DB}`);
  });
  it('is a document where JSON is wanted, of which the error can be made again', async () => {
    const error = new UnavailableError('STORE_DOWN', 'The store is away.');
    const { code, out, err } = await runWith(['doctor', DB, '--json'], { tools: failing(error) });
    expect(code).toBe(7);
    expect(err).toContain('Nothing was changed. Try again later.');
    const [document] = documents(out);
    expect(document).toMatchObject({ schemaVersion: 1, type: 'error' });
    expect(errorFromJson(document['error'] as never)).toBeInstanceOf(UnavailableError);
  });
  it('of a repair says that it can be run again', async () => {
    const error = new UnavailableError('STORE_FULL', 'Full.');
    const { code, err } = await runWith(['wal', 'repair', DB, '--apply'], { tools: failing(error) });
    expect(code).toBe(7);
    expect(err).toContain('it continues where it stopped');
  });
  it('that is a bug says so and is never taken for damage', async () => {
    const { code, err } = await runWith(['doctor', DB], { tools: failing(new TypeError('x is undefined')) });
    expect(code).toBe(70);
    expect(err).toContain('This is a bug of shaledb');
  });
});

describe('options of all commands', () => {
  const inspects = (words: string) => {
    const { tools, calls } = spy('walInspect', stream([]));
    return runWith(words.split(' '), { tools }).then(({ code, out }) => ({ code, out, calls }));
  };
  it.each([
    [`--json wal inspect ${DB} --root file:///`],
    [`wal --json inspect ${DB} --root=file:///`],
    [`--root file:/// --json wal inspect ${DB}`],
    [`--root=file:/// wal inspect --json ${DB}`],
    [`wal inspect ${DB} --root file:/// --json`],
  ])('may stand on either side of the command: %s', async (words) => {
    const { code, out, calls } = await inspects(words);
    expect([code, calls]).toEqual([EXIT.clean, [[DB, { root: 'file:///' }]]]);
    expect(documents(out)[0]).toMatchObject({ type: 'wal-summary' });
  });
  it('before the command keep the words of the command that is printed whole', async () => {
    const { out } = await runWith(['--quiet', 'wal', 'repair', DB], {
      tools: { walRepair: async () => repairReport() },
    });
    expect(out).toContain(`  shaledb wal repair --quiet ${DB} --apply --plan 5f3a09c1\n`);
  });
  it.each([
    ['--jsn doctor file:///db', 'Unknown option "--jsn"; did you mean --json?'],
    ['--level rows doctor file:///db', '--level belongs to a command'],
    ['--constructor doctor file:///db', 'Unknown option "--constructor"'],
    ['--json', 'A command is missing.'],
    ['--root', 'A command is missing.'],
    ['--json nonsense', 'Unknown command "nonsense"'],
  ])('and no others: %s', async (words, message) => {
    const { code, err, out } = await runWith(words.split(' '));
    expect([code, err]).toEqual([EXIT.usage, expect.stringContaining(message)]);
    if (words.includes('--json')) expect(documents(out)).toEqual([expect.objectContaining({ type: 'error' })]);
  });
});
