/**
 * What bytes are that a caller took for a table or for an object of the log: the tools for single files say so, instead of calling
 * a manifest a damaged table.
 *
 * Invariants:
 * 1. Only what proves to be something else is called so: its own seal, or a decoder that takes all of it. Whatever could be the wanted
 *    object in a damaged state is none of this function's business.
 * 2. Reads nothing and never throws for what the bytes are.
 */
import {
  DOCTOR,
  INSPECT_LOG_FILE,
  INSPECT_MANIFEST,
  INSPECT_TABLE_FILE,
  LIST_LOSSES,
  makeHint,
  nameOf,
  TOOLS_PAGE,
} from '../common/advice.ts';
import { IncompatibleError, InvalidArgumentError, isCorruption } from '../common/errors.ts';
import { decodeCompactions } from '../format/compactions-codec.ts';
import { decodeManifest } from '../format/manifest-codec.ts';
import { endOf, footerIn, infoIn, sealPlaceOf } from '../format/object-end.ts';
import { decodeManifestSeal, decodeSeal, findManifestSeal } from '../format/seal.ts';
import { decodeIdentity } from '../format/sidecar.ts';
import { FOOTER_BYTES } from '../format/table-layout.ts';
import { decodeLedger } from '../lsm/tree/damage-ledger.ts';

export type SingleFile = 'table' | 'wal';

interface Kind {
  what: string;
  /** The command for such a file. */
  next: string;
  /** The whole command, where it takes files; `FILE` stands for the path. */
  command?: string;
}

const ofDatabase = (command: string) => `To inspect that of a database use \`${nameOf(command)}\`.`;
const ofFile = (command: string) => `To inspect such a file use \`${command.replace(' FILE', '')}\`.`;

const MANIFEST: Kind = { what: 'a manifest', next: ofDatabase(INSPECT_MANIFEST) };
const COMPACTIONS: Kind = { what: 'a list of compactions', next: ofDatabase(DOCTOR) };
const IDENTITY: Kind = { what: 'the identity of a database', next: ofDatabase(DOCTOR) };
const LEDGER: Kind = { what: 'a version of the ledger of losses', next: ofDatabase(LIST_LOSSES) };
const WAL: Kind = {
  what: 'an object of the write-ahead log',
  next: `${ofFile(INSPECT_LOG_FILE)} Its name must be the id: digits and .sst.`,
  command: INSPECT_LOG_FILE,
};
const TABLE: Kind = {
  what: 'a table',
  next: ofFile(INSPECT_TABLE_FILE),
  command: INSPECT_TABLE_FILE,
};

/** Throws `BAD_ARGUMENT` for bytes that are something else than what is wanted. An object of the log may be empty, no table is. */
export function assertFileKind(bytes: Uint8Array, wanted: SingleFile): void {
  if (bytes.length === 0 && wanted === 'table')
    throw refused('an empty file', wanted, 'The copy failed, or the object itself is empty: compare the sizes.');
  const kind = kindOf(bytes);
  if (kind === (wanted === 'table' ? TABLE : WAL)) return;
  if (kind !== undefined) throw refused(kind.what, wanted, kind.next, kind.command);
  if (isText(bytes)) throw refused('text', wanted, 'No object of a database is text; check the path.');
}

function refused(what: string, wanted: SingleFile, next: string, command?: string): InvalidArgumentError {
  const message = `This is ${what}, not ${(wanted === 'table' ? TABLE : WAL).what}. ${next}`;
  const commands = command === undefined ? [] : [command];
  const hint = makeHint(next, 'none', commands, TOOLS_PAGE);
  return new InvalidArgumentError('BAD_ARGUMENT', message, { hint, details: { what } });
}

function kindOf(bytes: Uint8Array): Kind | undefined {
  const ofSection = sectionKind(bytes);
  if (ofSection !== undefined) return ofSection;
  const seal = findManifestSeal(bytes);
  if (seal !== undefined) {
    if (takes(() => decodeManifestSeal(bytes, seal.start, 'compactions'))) return COMPACTIONS;
    // Its magic bytes stand at the end of nothing else that is wanted.
    return MANIFEST;
  }
  if (takes(() => decodeManifest(bytes))) return MANIFEST;
  if (takes(() => decodeCompactions(bytes))) return COMPACTIONS;
  if (takes(() => decodeIdentity(bytes))) return IDENTITY;
  if (takes(() => decodeLedger(bytes))) return LEDGER;
  return undefined;
}

/** Tables and objects of the log have one form; their seal, or the info block of newer SlateDB, shows which it is. */
function sectionKind(bytes: Uint8Array): Kind | undefined {
  if (bytes.length <= FOOTER_BYTES) return undefined;
  let kind: Kind | undefined;
  takes(() => {
    const end = endOf(bytes);
    const { infoOffset } = footerIn(end);
    const info = infoIn(end, infoOffset);
    if (info.tableType === 'wal') kind = WAL;
    const seal = sealPlaceOf(info, infoOffset);
    if (seal !== undefined) kind = decodeSeal(bytes, seal.start, seal.end).kind === 'table' ? TABLE : WAL;
  });
  return kind;
}

/** Whether a decoder takes the bytes. */
function takes(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return false;
    throw error;
  }
}

/** Bytes of text that are looked at. */
const MOST_TEXT = 4096;

function isText(bytes: Uint8Array): boolean {
  if (bytes.length === 0) return false;
  const text = new TextDecoder('utf-8').decode(bytes.subarray(0, MOST_TEXT), { stream: true });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  return !/[\u0000-\u0008\u000e-\u001f\u007f\ufffd]/u.test(text);
}
