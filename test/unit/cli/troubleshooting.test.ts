/** docs/troubleshooting.md and docs/tools.md show what the program prints today. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderTroubleshooting, shownOutputs } from '../../../scripts/make-troubleshooting.mjs';
import { renderTools } from '../../../scripts/tools-doc.mjs';
import { SCENES } from '../../../scripts/troubleshooting-scenes.mjs';
import { ERROR_CODES } from '../../../src/common/errors.ts';

const read = (page: string) => readFileSync(join(import.meta.dirname, '..', '..', '..', page), 'utf8');

/** Codes whose output cannot be made on every machine, with the reason. */
const NOT_SHOWN: Record<string, string> = {
  CODEC_MISSING: 'depends on the packages that are installed',
  PACKAGE_MISSING: 'depends on the packages that are installed',
  PARENT_OUT_OF_REACH: 'needs a URL and a directory; explained in words at the beginning',
  INVARIANT: 'a bug, which nobody can provoke',
  COMPACTOR_FENCED: 'needs two compactors',
  COMPACTION_INVALID: 'needs a scheduler of the caller',
  COMPACTION_FAILED: 'needs a compactor and a failure in the middle of its work',
  VIEW_EXPIRED: 'needs a collector that deletes tables under a reader',
};

describe('the troubleshooting page', () => {
  const page = read('docs/troubleshooting.md');
  const others = ['README.md', 'docs/tools.md'].map(read);
  it('shows what comes out today: node scripts/run-typescript.mjs scripts/make-troubleshooting.mjs', async () => {
    expect(await renderTroubleshooting(page)).toBe(page);
    for (const other of others) expect(await renderTroubleshooting(other)).toBe(other);
  });
  it('shows every error code', () => {
    const shown = new Set(shownOutputs(page));
    expect(Object.keys(ERROR_CODES).filter((code) => !shown.has(code) && NOT_SHOWN[code] === undefined)).toEqual([]);
  });
  it('shows everything that is played', () => {
    expect([page, ...others].flatMap(shownOutputs).sort()).toEqual(Object.keys(SCENES).sort());
  });
  it('shows the error that its heading promises', async () => {
    const block = (code: string) => `### \`${code}\`\n\n<!-- output:BAD_ARGUMENT -->\n<!-- /output -->`;
    await expect(renderTroubleshooting(block('DEADLINE'))).rejects.toThrow(/DEADLINE.*BAD_ARGUMENT/);
    await expect(renderTroubleshooting(block('BAD_ARGUMENT'))).resolves.toContain('BAD_ARGUMENT: ');
  });
  it('names a scene that exists', async () => {
    await expect(renderTroubleshooting('<!-- output:nothing -->\n<!-- /output -->')).rejects.toThrow('nothing');
  });
});

it('the page of the tools lists commands and exit codes as they are: node scripts/run-typescript.mjs scripts/tools-doc.mjs', () => {
  const page = read('docs/tools.md');
  expect(renderTools(page)).toBe(page);
});
