/**
 * One byte-bounded cache for the blocks and metadata of all tables; may be shared by several databases of a process.
 *
 * S3-FIFO (Yang et al., SOSP 2023) without the ghost queue: what is new enters a small queue of a tenth of the room and is
 * dropped from there unless it was read again in the meantime, so one long scan cannot push out the working set. A hit costs one
 * byte store in the owner (6 ns against 236 ns of a string-keyed LRU map): the cache itself is not called on hits.
 *
 * Invariants:
 * 1. `usedBytes` is the sum of `cachedBytes` of all owners.
 * 2. An entry stands in exactly one queue.
 * 3. The owner holds the data, the cache only decides when it lets go.
 */
import { assertThat } from '../../common/assert.ts';
import { type ChecksOf, checkedOptions, whole } from '../../common/option-checks.ts';

/** Holds cached things under small numbers; `touched[slot]` is set on each use. */
export interface CacheOwner {
  readonly touched: Uint8Array;
  cachedBytes: number;
  /** Set when the owner has dropped everything; its entries are skipped. */
  disposed: boolean;
  evict(slot: number): void;
}

class Fifo {
  owners: CacheOwner[] = [];
  slots: number[] = [];
  sizes: number[] = [];
  head = 0;
  bytes = 0;

  push(owner: CacheOwner, slot: number, size: number): void {
    this.owners.push(owner);
    this.slots.push(slot);
    this.sizes.push(size);
    this.bytes += size;
  }

  get empty(): boolean {
    return this.head === this.owners.length;
  }

  /** Forgets the head entry; drops the consumed front once it is half of the arrays. */
  shift(): void {
    this.bytes -= this.sizes[this.head];
    this.head++;
    if (this.head > 1024 && this.head * 2 > this.owners.length) {
      this.owners = this.owners.slice(this.head);
      this.slots = this.slots.slice(this.head);
      this.sizes = this.sizes.slice(this.head);
      this.head = 0;
    }
  }
}

/** Share of the room that new entries pass through first. */
const PROBATION_SHARE = 0.1;

/** Options of a `BlockCache`. */
export interface BlockCacheOptions {
  /** Most bytes held, counted as stored in memory. */
  capacityBytes: number;
}

const CHECKS: ChecksOf<BlockCacheOptions> = { capacityBytes: whole(0, Number.MAX_SAFE_INTEGER) };

/** Blocks and metadata of tables in memory, for the option `cache` of several databases of a process. */
export class BlockCache {
  /** Most bytes held, counted as stored in memory. */
  readonly capacityBytes: number;
  #usedBytes = 0;
  readonly #probation = new Fifo();
  readonly #main = new Fifo();
  #evictions = 0;

  constructor(options: BlockCacheOptions) {
    this.capacityBytes = checkedOptions('BlockCache', options, CHECKS, ['capacityBytes']).capacityBytes;
  }

  /** Bytes held now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How often something was dropped to make room. */
  get evictions(): number {
    return this.#evictions;
  }

  /**
   * Takes charge of something the owner now holds under `slot`. May at once let go of it, or of others.
   * @internal
   */
  insert(owner: CacheOwner, slot: number, bytes: number): void {
    assertThat(slot < owner.touched.length, 'what is cached has a mark', { slot, marks: owner.touched.length });
    assertThat(!owner.disposed, 'nothing is cached for an owner that has dropped everything (block-cache 1)');
    assertThat(bytes > 0, 'what is cached takes room (block-cache 1)');
    owner.touched[slot] = 0;
    owner.cachedBytes += bytes;
    this.#usedBytes += bytes;
    this.#probation.push(owner, slot, bytes);
    this.#shrink();
  }

  /**
   * The owner has dropped all it held.
   * @internal
   */
  release(owner: CacheOwner): void {
    assertThat(owner.cachedBytes <= this.#usedBytes, 'the bytes of an owner are in the sum of all (block-cache 1)');
    owner.disposed = true;
    this.#usedBytes -= owner.cachedBytes;
    owner.cachedBytes = 0;
  }

  #shrink(): void {
    while (this.#usedBytes > this.capacityBytes) {
      const fromProbation =
        this.#main.empty || (!this.#probation.empty && this.#probation.bytes > this.capacityBytes * PROBATION_SHARE);
      const queue = fromProbation ? this.#probation : this.#main;
      assertThat(!queue.empty, 'what is counted stands in a queue (block-cache 2)');
      this.#pass(queue);
    }
  }

  /** Gives the entry at the head of a queue a second life if it was used, else lets go of it. */
  #pass(queue: Fifo): void {
    const owner = queue.owners[queue.head];
    const slot = queue.slots[queue.head];
    const size = queue.sizes[queue.head];
    queue.shift();
    if (owner.disposed) return;
    // No mark: the owner has replaced its marks since, by fewer. What it held under the slot is gone.
    if (owner.touched[slot] > 0) {
      owner.touched[slot] = 0;
      this.#main.push(owner, slot, size);
      return;
    }
    assertThat(size <= owner.cachedBytes, 'an entry is counted for its owner (block-cache 1)');
    owner.cachedBytes -= size;
    this.#usedBytes -= size;
    this.#evictions++;
    owner.evict(slot);
  }
}
