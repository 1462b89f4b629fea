/** Who writes an object: what the identity record of every seal says besides the object's own facts. */
import { assertThat } from '../../common/assert.ts';
import type { Clock } from '../../common/clock.ts';
import type { Random } from '../../common/random.ts';
import type { Ulid } from '../../common/ulid.ts';
import type { IdentityRecord } from '../../format/seal-records.ts';
import type { Codec, FormatVersion } from '../../format/table-info.ts';

/** Version of this software in seals: major, minor, patch. */
export const SOFTWARE_VERSION: [number, number, number] = [0, 1, 0];

/** The same in the identity of a database. */
export const CREATOR = `shaledb ${SOFTWARE_VERSION.join('.')}`;

export interface AuthorOptions {
  clock: Clock;
  random: Random;
  /** `host:pid`, so that a fenced writer learns which process took over. */
  owner: string;
  databaseId: Uint8Array;
  role: IdentityRecord['role'];
}

export interface ObjectFacts {
  objectId: Uint8Array;
  putId: Ulid;
  epoch: number;
  newestManifestId: number;
  formatVersion?: FormatVersion;
  codec?: Codec;
}

export class Author {
  readonly clock: Clock;
  readonly random: Random;
  readonly owner: string;
  readonly databaseId: Uint8Array;
  readonly #role: IdentityRecord['role'];

  constructor(options: AuthorOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.owner = options.owner;
    assertThat(options.databaseId.length === 16, 'a database has an id of 16 bytes');
    this.databaseId = options.databaseId;
    this.#role = options.role;
  }

  identity(facts: ObjectFacts): IdentityRecord {
    assertThat(facts.objectId.length === 16 && facts.epoch >= 0, 'a seal names its object, and an epoch');
    return {
      databaseId: this.databaseId,
      objectId: facts.objectId,
      putId: facts.putId,
      epoch: facts.epoch,
      role: this.#role,
      formatVersion: facts.formatVersion ?? 0,
      codec: facts.codec ?? 'none',
      writtenAtMs: this.clock.nowMs(),
      newestManifestId: facts.newestManifestId,
      software: SOFTWARE_VERSION,
    };
  }
}
