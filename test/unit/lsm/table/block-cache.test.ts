/**
 * Eviction as data: one script per line, over a cache of 100 units. `a30` caches something of 30 units under the name a, `b20@2` the
 * same for a second owner, `!a` reads it (a hit only marks it), `drop@2` releases an owner. After the arrow: what was let go of,
 * in order; what is still held; and the units in use.
 *
 * C1. The units in use never exceed the capacity after an insertion. C2. New things pass through a tenth of it, and leave there unless
 * they were read since they came. C3. What was read once more gets a second life in the main queue, and there again for each
 * reading. C4. Nothing is let go of while there is room. C5. What an owner that was released held is neither counted nor let go of.
 */
import { describe, expect, it } from 'vitest';
import { BlockCache, type CacheOwner } from '../../../../src/lsm/table/block-cache.ts';

interface Owner extends CacheOwner {
  names: string[];
  held: Set<string>;
}

function play(script: string, capacityBytes = 100): { cache: BlockCache; evicted: string[]; held: string[] } {
  const cache = new BlockCache({ capacityBytes });
  const evicted: string[] = [];
  const owners = new Map<string, Owner>();
  const ownerOf = (name = '1'): Owner => {
    const known = owners.get(name);
    if (known !== undefined) return known;
    const owner: Owner = {
      touched: new Uint8Array(4000),
      cachedBytes: 0,
      disposed: false,
      names: [],
      held: new Set(),
      evict: (slot) => {
        evicted.push(owner.names[slot]);
        expect(owner.held.delete(owner.names[slot])).toBe(true);
      },
    };
    owners.set(name, owner);
    return owner;
  };
  for (const word of script.split(/\s+/).filter(Boolean)) {
    const [, released] = /^drop@(\d)$/.exec(word) ?? [];
    if (released !== undefined) {
      const owner = ownerOf(released);
      owner.held.clear();
      cache.release(owner);
      continue;
    }
    const [, reads, name, size, at] = /^(!)?([a-z]+\d*?)(\d+)?(?:@(\d))?$/.exec(word)!;
    const owner = ownerOf(at);
    if (reads !== undefined) {
      expect(owner.held.has(name)).toBe(true);
      owner.touched[owner.names.indexOf(name)] = 1;
      continue;
    }
    owner.names.push(name);
    owner.held.add(name);
    cache.insert(owner, owner.names.length - 1, Number(size));
    // C1, and the sum that the cache keeps.
    expect(cache.usedBytes).toBeLessThanOrEqual(capacityBytes);
    expect([...owners.values()].reduce((sum, o) => sum + o.cachedBytes, 0)).toBe(cache.usedBytes);
  }
  return { cache, evicted, held: [...owners.values()].flatMap((o) => [...o.held]) };
}

const CASES = `
  nothing has to go
  a30 b30 c40                          => let go of -, holds a b c, 100 (C4)
  a100                                 => let go of -, holds a, 100 (C4)

  the oldest that was never read
  a30 b30 c40 d10                      => let go of a, holds b c d, 80 (C2)
  a30 b30 c40 d40                      => let go of a b, holds c d, 80 (C2)
  a30 b30 c40 d100                     => let go of a b c, holds d, 100 (C1)
  a30 b30 c40 d101                     => let go of a b c d, holds -, 0 (C1: too large for all of it)
  a101                                 => let go of a, holds -, 0 (C1)

  what was read stays, and moves to the main queue
  a30 b30 c40 !a d10                   => let go of b, holds a c d, 80 (C3)
  a30 b30 c40 !a !b d10                => let go of c, holds a b d, 70 (C3)
  a30 b30 c40 !a !b !c d10             => let go of a, holds b c d, 80 (C2: the new one is within its tenth)
  a30 b30 c40 !a !b !c d11             => let go of d, holds a b c, 100 (C2: beyond it, the new one goes)
  a30 b30 c40 !c d10                   => let go of a, holds b c d, 80 (C2)

  a scan takes a tenth of the room
  a40 b40 c20 !a !b !c d5 e5 f5 g5     => let go of a, holds b c d e f g, 80 (C4: then there is room)
  a40 b40 !a !b c20 d5 e5 f5 g5        => let go of c, holds a b d e f g, 100 (C2)
  a40 b40 !a !b c20 d5 e5 f5 g5 h5     => let go of c d, holds a b e f g h, 100 (C2)

  a second life is one life: the main queue lets go of what was not read again
  a50 b40 !a !b c10 d10                => let go of c, holds a b d, 100 (C2)
  a50 b40 !a !b c20 d5 !d e5 f10       => let go of c e a, holds b d f, 55 (C3: a was not read again)
  a50 b40 !a !b c20 d5 !d e5 !a f10    => let go of c e b, holds a d f, 65 (C3: a was)

  several owners
  a30 b30@2 c40 d10@2                  => let go of a, holds c b d, 80 (C2: one order for all)
  a30 b30@2 c40 !a !b@2 d10@2          => let go of c, holds a b d, 70 (C3)
  a30 b30@2 c40 drop@2                 => let go of -, holds a c, 70 (C5)
  a30 b30@2 c40 drop@2 d30             => let go of -, holds a c d, 100 (C5: its room is free)
  b30@2 a30 c40 drop@2 d40             => let go of a, holds c d, 80 (C5: its entry is passed over)
  a30 drop@1                           => let go of -, holds -, 0 (C5)
`
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line.includes('=>'));

describe('the block cache', () => {
  it.each(CASES)('%s', (line) => {
    const [script, answer] = line.replace(/ *\(C[^)]*\)$/, '').split(/ *=> */);
    const { cache, evicted, held } = play(script);
    const list = (names: string[]) => (names.length === 0 ? '-' : names.join(' '));
    expect(`let go of ${list(evicted)}, holds ${list(held)}, ${cache.usedBytes}`).toBe(answer);
    expect(cache.evictions).toBe(evicted.length);
  });

  it('of no room holds nothing', () => {
    const { cache, evicted } = play('a1 b1', 0);
    expect([evicted, cache.usedBytes]).toEqual([['a', 'b'], 0]);
  });

  it('keeps a working set that is read while ten times its room is scanned', () => {
    const words: string[] = ['keepa40', 'keepb40', '!keepa', '!keepb'];
    for (let i = 0; i < 500; i++) {
      words.push(`s${String.fromCharCode(97 + (i % 26))}${'x'.repeat(Math.floor(i / 26) + 1)}2`);
      if (i % 25 === 0) words.push('!keepa', '!keepb');
    }
    const { held } = play(words.join(' '));
    expect(held).toContain('keepa');
    expect(held).toContain('keepb');
  });

  it('forgets the places of what it let go of', () => {
    // More than the 1,024 after which the consumed front of a queue is cut off: the order must hold beyond it.
    const letters = (i: number) => String(i).replaceAll(/\d/g, (d) => String.fromCharCode(97 + Number(d)));
    const names = Array.from({ length: 3000 }, (_, i) => letters(i));
    const { evicted, cache } = play(names.map((name) => `${name}10`).join(' '));
    expect(evicted).toEqual(names.slice(0, 2990));
    expect(cache.usedBytes).toBe(100);
  });

  it('takes something new for unread, whatever was read in its slot before', () => {
    const evicted: number[] = [];
    const owner = {
      touched: Uint8Array.of(1, 0),
      cachedBytes: 0,
      disposed: false,
      evict: (s: number) => evicted.push(s),
    };
    const cache = new BlockCache({ capacityBytes: 100 });
    cache.insert(owner, 0, 60);
    cache.insert(owner, 1, 60);
    expect(evicted).toEqual([0]);
  });

  it('lets go of entries whose marks the owner has replaced by fewer', () => {
    const evicted: number[] = [];
    const owner = {
      touched: new Uint8Array(4),
      cachedBytes: 0,
      disposed: false,
      evict: (s: number) => evicted.push(s),
    };
    const cache = new BlockCache({ capacityBytes: 100 });
    for (let slot = 0; slot < 4; slot++) cache.insert(owner, slot, 25);
    owner.touched = new Uint8Array(1);
    cache.insert(owner, 0, 100);
    expect(evicted).toEqual([0, 1, 2, 3]);
    expect(cache.usedBytes).toBe(100);
  });

  it('refuses what its owner has no mark for', () => {
    const owner = { touched: new Uint8Array(2), cachedBytes: 0, disposed: false, evict: () => undefined };
    expect(() => new BlockCache({ capacityBytes: 100 }).insert(owner, 2, 60)).toThrow(/has a mark/);
  });

  it('refuses options that are none', () => {
    expect(() => new BlockCache({ capacityBytes: -1 })).toThrow(/capacityBytes/);
    expect(() => new BlockCache({} as never)).toThrow(/capacityBytes/);
  });
});
