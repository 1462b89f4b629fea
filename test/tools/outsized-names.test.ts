/**
 * An object whose number is above 2^53 - 1: who opens or changes the database says which one it is and what to do, checks report it and all
 * that holds without it, and what does not need its kind goes on.
 */
import { expect, it } from 'vitest';
import { compact, gcOnce } from '../../src/admin.ts';
import type { DbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { stats } from '../../src/tools/stats.ts';
import { verify } from '../../src/tools/verify.ts';
import { rejection, rowsOf, World } from '../support/database.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const NUMBER = '18446744073709551615';
const NAMES = [`manifest/${NUMBER}.manifest`, `wal/${NUMBER}.sst`, `compactions/${NUMBER}.compactions`];

async function worldWith(name: string) {
  const world = new World();
  await world.writeAndCrash(['a']);
  await world.replace(name, new Uint8Array(9));
  const target = { store: world.memory, path: '' };
  const options = { clock: world.clock, logger: QUIET };
  const refused = { code: 'FORMAT_TOO_NEW', message: expect.stringMatching(`${name} .* move it away`) };
  const said = (findings: readonly Finding[]) =>
    findings.map((f) => `${f.severity} ${f.code} ${f.object.role} ${f.object.path}`);
  return { world, target, options, refused, said };
}

it.each(NAMES)('%s is refused by who writes, with its path and what to do, until it is moved away', async (name) => {
  const { world, target, options, refused } = await worldWith(name);
  expect(await rejection(world.open())).toMatchObject({ ...refused, hint: { summary: refused.message } });
  const compacted = (): Promise<unknown> =>
    world.run(compact(target, { ...options, apply: true, liveCheckMs: 0 }).catch((error: DbError) => error));
  // Of the log a compaction needs nothing.
  if (!name.startsWith('wal/') && !name.startsWith('compactions/')) expect(await compacted()).toMatchObject(refused);
  await world.memory.delete([name]);
  expect(await rowsOf(world, await world.open())).toEqual(['a=value of a']);
});

it.each(NAMES)('%s is a finding of every check, which goes on', async (name) => {
  const { world, target, options, said } = await worldWith(name);
  const role = name.slice(0, name.indexOf('/'));
  const finding = `unknown FORMAT_TOO_NEW ${role} ${name}`;
  const whole = await world.run(verify(target, options));
  expect([whole.verdict, said(whole.findings)]).toEqual(['unknown', [finding]]);
  expect([whole.manifests.checked > 0, whole.wal.rows]).toEqual([true, 1]);
  expect(whole.findings[0]!.hint.summary).toContain('move it away');
  const numbers = await world.run(stats(target, options));
  expect(said(numbers.findings)).toEqual([finding]);
  expect(numbers.total.needed).toBeUndefined();
  const collected = await world.run(gcOnce(target, options));
  expect([said(collected.findings), collected.stopped]).toEqual([[finding], expect.stringContaining(name)]);
});

it('a reader does not depend on the compactions files; on the others it does', async () => {
  for (const name of NAMES) {
    const { world, refused } = await worldWith(name);
    if (name.startsWith('compactions/')) {
      expect(await rowsOf(world, await world.openReader())).toEqual(['a=value of a']);
    } else expect(await rejection(world.openReader())).toMatchObject(refused);
  }
});
