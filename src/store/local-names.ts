/**
 * Names of the files that a local store makes for its own use, beside the objects: `<object>#<mark><13 digits>`.
 *
 * A directory is shared with other programs, whose files may be called `Song #1` or `invoice#42`, so a number after a `#` says
 * nothing about who made a file. The mark does: it is the ASCII codes of SHALE, ten digits. Only digits may follow the `#`,
 * because SlateDB hides exactly such names from its lists.
 *
 * Invariants:
 * 1. A file is hidden from lists, refused as an object and deleted as a leftover if and only if `isOwnFileName` holds.
 * 2. No file that an object store user names in the ordinary way has such a name.
 */

const MARK = '8372657669';
const NUMBER_DIGITS = 13;
const OWN = new RegExp(`.#${MARK}\\d{${NUMBER_DIGITS}}$`);

/**
 * What version 0.1 left: 11 to 13 digits without a mark. They count only beside an object with a name that programs give and
 * people do not: twenty digits or a ULID, and an ending.
 */
const OWN_BEFORE_THE_MARK = /^(?:\d{20}|[0-7][0-9A-HJKMNP-TV-Z]{25})\.[a-z]+#\d{11,13}$/;

/** A file beside `target` for bytes that have no name yet. `number`: below 10^13. */
export function temporaryFileName(target: string, number: number): string {
  return `${target}#${MARK}${number.toString().padStart(NUMBER_DIGITS, '0')}`;
}

/** The lock of `target`: the temporary name with the number 0, which is never drawn. */
export function lockFileName(target: string): string {
  return temporaryFileName(target, 0);
}

/** Whether a file, or one segment of a path, is called as only local stores call theirs. */
export function isOwnFileName(name: string): boolean {
  return OWN.test(name) || OWN_BEFORE_THE_MARK.test(name);
}

/** The object and the number that the path of a temporary file is made of. */
export function temporaryOf(file: string): { path: string; uploadId: string } {
  const at = file.lastIndexOf('#');
  return { path: file.slice(0, at), uploadId: file.slice(at + 1) };
}

/** The path of a temporary file; undefined if no store gives such a number, or only to a lock. */
export function temporaryFileOf(path: string, uploadId: string): string | undefined {
  const file = `${path}#${uploadId}`;
  if (!/^\d+$/.test(uploadId)) return undefined;
  const name = file.slice(file.lastIndexOf('/') + 1);
  return isOwnFileName(name) && file !== lockFileName(path) ? file : undefined;
}
