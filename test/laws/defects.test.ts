/** The deliberate defects fit the source as it is: one that no longer applies would prove nothing. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const FOLDER = 'test/sim/defects';
const patches = readdirSync(FOLDER).filter((name) => name.endsWith('.patch'));

describe('the deliberate defects', () => {
  it('are at least ten', () => expect(patches.length).toBeGreaterThanOrEqual(10));

  it.each(patches)('%s applies to the source', (patch) => {
    const { status, stderr } = spawnSync('git', ['apply', '--check', join(FOLDER, patch)], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
});
