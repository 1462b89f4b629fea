/** `shaledb ls`: the objects that are stored, by role and size. */
import type { ObjectListReport, StoredObject } from '../admin.ts';
import { type Call, type Command, LOCATION } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { count, dateText, number, size, table, type View, visible } from './words.ts';

const NAMES: Readonly<Record<StoredObject['role'], string>> = {
  manifest: 'manifests',
  wal: 'log objects',
  table: 'tables',
  compactions: 'compactions files',
  boundary: 'boundary files',
  copy: 'copies in quarantine',
  sidecar: 'sidecars',
  foreign: 'foreign objects',
};
const ROLES = Object.keys(NAMES);

export const LS: Command = {
  name: ['ls'],
  summary: 'the objects that are stored, by role and size, with sums',
  about: [
    'Every object below LOCATION with its role, its size and when it was stored, and the sums of each role. Works on databases that do not open. Foreign objects have names that a database does not give: nothing reads or deletes them.',
    'Reads no object and changes nothing. One request for each 1,000 objects.',
  ],
  operands: [LOCATION],
  options: {
    role: { kind: 'choice', choices: ROLES, says: 'only objects of this role' },
    sort: {
      kind: 'choice',
      choices: ['name', 'size', 'age'],
      says: 'by name (default), the largest or the newest first',
    },
    limit: { kind: 'count', value: 'N', says: 'show so many objects; the sums are of all' },
    sums: { kind: 'flag', says: 'only the sums' },
  },
  examples: [
    { line: 'ls file:///var/lib/db', says: 'everything' },
    { line: 'ls ./db --sums', says: 'how much of each kind' },
    { line: 'ls s3://bucket/db --role table --sort size --limit 20', says: 'the largest tables' },
    { line: 'ls file:///var/lib/db --json', says: 'for a script' },
  ],
  run: list,
};

async function list({ args, printer, tools, common }: Call): Promise<ExitCode> {
  const report = await tools.objectList(printer.view.location, common);
  const {
    role,
    sort = 'name',
    limit = Number.POSITIVE_INFINITY,
  } = args.members<Wanted>({
    role: 'role',
    sort: 'sort',
    limit: 'limit',
  });
  const wanted = report.objects.filter((object) => role === undefined || object.role === role).sort(ORDERS[sort]);
  const shown = args.has('sums') ? [] : wanted.slice(0, limit);
  printer.report('objects', { ...report, objects: shown }, () => [
    ...objectsText(shown, printer.view),
    ...(shown.length === 0 ? [] : ['']),
    ...sumsText(report, printer.view),
    ...(shown.length < wanted.length && !args.has('sums')
      ? ['', `${count(wanted.length - shown.length, 'object')} more not shown (--limit ${number(limit)}).`]
      : []),
  ]);
  return EXIT.clean;
}

interface Wanted {
  role: StoredObject['role'];
  sort: keyof typeof ORDERS;
  limit: number;
}

const ORDERS = {
  name: () => 0,
  size: (a: StoredObject, b: StoredObject) => b.bytes - a.bytes,
  age: (a: StoredObject, b: StoredObject) => (b.storedAtMs ?? 0) - (a.storedAtMs ?? 0),
};

/** The path last: it is the longest, and may go beyond the line. */
function objectsText(objects: readonly StoredObject[], { paint }: View): string[] {
  if (objects.length === 0) return [];
  const rows = objects.map(({ path, role, bytes, storedAtMs }) => [
    role,
    size(bytes),
    storedAtMs === undefined ? 'unknown' : dateText(storedAtMs),
    visible(path),
  ]);
  return table(paint, ['role', '>size', 'stored (UTC)', 'object'], rows);
}

function sumsText({ roles, total }: ObjectListReport, { paint }: View): string[] {
  const rows = roles.map(({ role, objects, bytes }) => [NAMES[role], number(objects), size(bytes)]);
  return table(paint, ['', '>objects', '>bytes'], [...rows, ['together', number(total.objects), size(total.bytes)]]);
}
