/**
 * What bytes are that somebody took for a table or for an object of the log: the tools for single files say so, instead of calling
 * a manifest a damaged table.
 *
 * Invariants:
 * 1. Only what proves to be something else is called so: its own seal, or a decoder that takes all of it. Whatever could be the wanted
 *    object in a damaged state is none of this function's business.
 * 2. Reads nothing and never throws for what the bytes are.
 */
import { IncompatibleError, InvalidArgumentError, isCorruption } from '../common/errors.ts';
import { NO_CODEC } from '../format/codecs.ts';
import { decodeCompactions } from '../format/compactions-codec.ts';
import { unframeUnit } from '../format/framing.ts';
import { decodeInfo } from '../format/info-block.ts';
import { decodeManifest } from '../format/manifest-codec.ts';
import { decodeManifestSeal, decodeSeal, findManifestSeal } from '../format/seal.ts';
import { decodeIdentity } from '../format/sidecar.ts';
import { checkLayout, decodeFooter, FOOTER_BYTES, sealRange } from '../format/table-layout.ts';
import { decodeLedger } from '../lsm/tree/damage-ledger.ts';

export type SingleFile = 'table' | 'wal';

interface Kind {
  what: string;
  /** Who looks at such a thing. */
  next: string;
  /** The whole command, where it takes files; `FILE` stands for the path. */
  command?: string;
}

const ofDatabase = (command: string) => `Of a database \`${command}\` looks at it.`;
const ofFile = (command: string) => `\`${command} --file\` looks at such a file.`;

const MANIFEST: Kind = { what: 'a manifest', next: ofDatabase('shaledb manifest inspect') };
const COMPACTIONS: Kind = { what: 'a list of compactions', next: ofDatabase('shaledb doctor') };
const IDENTITY: Kind = { what: 'the identity of a database', next: ofDatabase('shaledb doctor') };
const LEDGER: Kind = { what: 'a version of the ledger of losses', next: ofDatabase('shaledb damage list') };
const WAL: Kind = {
  what: 'an object of the write-ahead log',
  next: `${ofFile('shaledb wal inspect')} Its name must be the id: digits and .sst.`,
  command: 'shaledb wal inspect --file FILE',
};
const TABLE: Kind = {
  what: 'a table',
  next: ofFile('shaledb sst inspect'),
  command: 'shaledb sst inspect --file FILE',
};

/** More is no info block. */
const MAX_INFO_BYTES = 1024 * 1024;

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
  const hint = { summary: next, commands, docs: 'docs/tools.md', lossIfRepaired: 'none' as const };
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

/** Tables and objects of the log have one form; their seal, or the info block of newer SlateDB, tells them apart. */
function sectionKind(bytes: Uint8Array): Kind | undefined {
  if (bytes.length <= FOOTER_BYTES) return undefined;
  let kind: Kind | undefined;
  takes(() => {
    const { infoOffset } = decodeFooter(bytes, bytes.length);
    const stored = bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES);
    const info = decodeInfo(unframeUnit(stored, NO_CODEC, 'info', MAX_INFO_BYTES));
    checkLayout(info, infoOffset, bytes.length);
    const { start, end } = sealRange(info, infoOffset);
    if (info.tableType === 'wal') kind = WAL;
    if (end > start) kind = decodeSeal(bytes, start, end).kind === 'table' ? TABLE : WAL;
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
