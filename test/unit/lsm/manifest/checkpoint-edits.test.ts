/**
 * Edits of the list of checkpoints as data: the manifest before, the edit, the manifest after (the notation: manifest-script.ts).
 *
 *   add c 4 [until 900]      a checkpoint on manifest 4, in manifest 5      refresh c 900 | drop c | expire 960
 */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../src/common/random.ts';
import type { Manifest } from '../../../../src/format/manifest-types.ts';
import {
  addCheckpoint,
  dropCheckpoint,
  dropExpiredCheckpoints,
  freshCheckpointId,
  refreshCheckpoint,
} from '../../../../src/lsm/manifest/checkpoint-edits.ts';
import { manifestText, parseManifest } from '../../../support/manifest-script.ts';

function apply(m: Manifest, edit: string): Manifest | undefined {
  const [verb, ...words] = edit.split(' ');
  switch (verb) {
    case 'add': {
      const [checkpoint] = parseManifest(`cp ${words.join(' ')}`).checkpoints;
      return addCheckpoint(m, checkpoint!, 5);
    }
    case 'refresh':
      return refreshCheckpoint(m, words[0]!, Number(words[1]));
    case 'drop':
      return dropCheckpoint(m, words[0]!);
    default:
      return dropExpiredCheckpoints(m, Number(words[0]));
  }
}

const CASES = [
  'l0 A                       | add c 4 until 900 => l0 A; cp c 4 until 900 (the manifest before)',
  'cp c 2                     | add d 5 => cp c 2; cp d 5 (the manifest itself; never)',
  'cp c 2 until 7; cp d 3     | refresh c 900 => cp c 2 until 900; cp d 3 (later)',
  'cp c 2 until 900           | refresh c 7 => cp c 2 until 7 (earlier)',
  'cp c 2 until 900           | refresh c 0 => cp c 2 (never)',
  'cp c 2 until 900           | refresh c 900 => no change (it says so already)',
  'cp c 2                     | refresh d 900 => no change (it is gone)',
  'cp c 2; cp d 3; cp e 3     | drop d => cp c 2; cp e 3 (the others stay in their order)',
  'cp c 2                     | drop d => no change (it is gone)',
  'cp c 2 until 900; cp d 3 until 899; cp e 1 | expire 960 => cp c 2 until 900; cp e 1 (60 s after the expiry)',
  'cp c 2 until 900; cp e 1   | expire 960 => no change (not yet)',
  'cp c 2 until 900; cp e 1   | expire 961 => cp e 1 (one without an expiry stays)',
];

it('a new checkpoint has a UUID of version 4, another each time', () => {
  const random = new SeededRandom(1);
  const ids = Array.from({ length: 50 }, () => freshCheckpointId(random));
  expect(ids.filter((id) => !/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))).toEqual(
    [],
  );
  expect(new Set(ids).size).toBe(50);
});

describe('an edit of checkpoints', () => {
  it.each(CASES)('%s', (line) => {
    const [, before, edit, after] = /^(.*?) *\| *(.*?) *=> *(.*?) *\([^()]*\)$/.exec(line)!;
    const m = parseManifest(before!);
    const copy = structuredClone(m);
    const made = apply(m, edit!);
    expect(made === undefined ? 'no change' : manifestText(made)).toBe(after);
    expect(m).toEqual(copy);
  });

  it.each(['add c 4', 'add d 6', 'add d 0', 'add d 4 until 4294967296', 'add d 4 until 1.5', 'refresh c -1'])(
    'that SlateDB could not store, or of a manifest that is to come, is a fault of the program: %s',
    (edit) => {
      expect(() => apply(parseManifest('cp c 2'), edit)).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
    },
  );
});
