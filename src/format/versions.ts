/**
 * What an unknown version number means: the one rule for all places where a version is stored.
 *
 * A format that grows by a version at a time leaves numbers slightly above ours: the object is a newer program's, and nothing
 * about it may be concluded or repaired. Any other number was never written by any program: other bytes are stored where the version
 * should be (the text "junk" reads as 27,253), which is damage. SlateDB needed one step in eighteen releases.
 */
import { damage } from '../common/damage.ts';
import { type DbError, IncompatibleError } from '../common/errors.ts';
import type { FindingPlace } from '../common/finding.ts';

/** A version further above ours is no version. */
const MOST_VERSIONS_AHEAD = 14;

/**
 * The error for `version`, which is none of 1 to `newest`: `FORMAT_TOO_NEW`, or damage `MALFORMED`.
 * @param what begins the message, for example `The manifest has header version`
 * @param at where the number is stored
 */
export function unknownVersion(what: string, version: number, newest: number, at: FindingPlace): DbError {
  const message = `${what} ${version}`;
  if (version > newest && version <= newest + MOST_VERSIONS_AHEAD) {
    return new IncompatibleError('FORMAT_TOO_NEW', message, { details: { version, offset: at.offset } });
  }
  return damage('MALFORMED', at, message, {
    expected: `version 1 to ${newest}`,
    found: `version ${version}`,
  });
}
