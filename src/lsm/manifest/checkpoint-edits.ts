/**
 * The edits of the list of checkpoints, as pure functions from manifest to manifest, whichever role makes them: a checkpoint pins a
 * manifest, its tables and the log that it knew of. Undefined: nothing is to be changed.
 *
 * Times are whole seconds, by the store's clock where it is known; 0 as an expiry: never.
 *
 * Invariants:
 * 1. A checkpoint names a manifest that was the newest when it was made, or that another checkpoint pins: so no collector has it.
 *    This is what the caller has to see to; here it is only checked that the manifest is not one to come.
 * 2. Ids are unique. What an edit does not name stays as it is, so edits of several processes commute.
 * 3. An expired checkpoint counts `EXPIRY_SLACK_S` longer, by the rule of the live set.
 */
import { assertThat } from '../../common/assert.ts';
import { toHex } from '../../common/bytes.ts';
import type { Random } from '../../common/random.ts';
import type { Checkpoint, Manifest, Uuid } from '../../format/manifest-types.ts';
import { isPastExpiry } from './live-set.ts';

/** Times of checkpoints are stored as u32. */
const MAX_TIME_S = 0xffff_ffff;

/** A UUID of version 4. */
export function freshCheckpointId(random: Random): Uuid {
  const bytes = new Uint8Array(16);
  random.fill(bytes);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** `nextId`: the id of the manifest that is to list it. */
export function addCheckpoint(m: Manifest, checkpoint: Checkpoint, nextId: number): Manifest {
  const { id, manifestId, createTimeS, expireTimeS } = checkpoint;
  assertThat(!m.checkpoints.some((other) => other.id === id), 'a checkpoint has an id of its own', { id });
  assertThat(manifestId > 0 && manifestId <= nextId, 'a checkpoint names a manifest that exists (1)', { manifestId });
  assertThat(isTime(createTimeS) && isTime(expireTimeS), 'a checkpoint has times of 32 bits', { ...checkpoint });
  return { ...m, checkpoints: [...m.checkpoints, checkpoint] };
}

/** Another expiry. Undefined: there is no such checkpoint, or it has this expiry. */
export function refreshCheckpoint(m: Manifest, id: Uuid, expireTimeS: number): Manifest | undefined {
  assertThat(isTime(expireTimeS), 'a checkpoint has times of 32 bits', { expireTimeS });
  if (!m.checkpoints.some((c) => c.id === id && c.expireTimeS !== expireTimeS)) return undefined;
  return { ...m, checkpoints: m.checkpoints.map((c) => (c.id === id ? { ...c, expireTimeS } : c)) };
}

/** Undefined: there is no such checkpoint. */
export function dropCheckpoint(m: Manifest, id: Uuid): Manifest | undefined {
  if (!m.checkpoints.some((c) => c.id === id)) return undefined;
  return { ...m, checkpoints: m.checkpoints.filter((c) => c.id !== id) };
}

/** Without the checkpoints that have expired; undefined: none has. `nowS`: time of the store. */
export function dropExpiredCheckpoints(m: Manifest, nowS: number): Manifest | undefined {
  const checkpoints = m.checkpoints.filter((c) => !isPastExpiry(c.expireTimeS, nowS));
  return checkpoints.length === m.checkpoints.length ? undefined : { ...m, checkpoints };
}

function isTime(seconds: number): boolean {
  return Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_TIME_S;
}
