/**
 * What holds for every tool that changes a database: without `apply` it changes nothing; cut off at any request and run again
 * it ends where an undisturbed run ends; and what was there before is still there, byte for byte.
 */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { RepairReport } from '../../src/tools/reports.ts';
import type { ToolOptions } from '../../src/tools/target.ts';
import type { Line, World } from './database.ts';

/** Runs the tool once; `line` is its store, `path` of the location is ''. */
export type ToolCall = (line: Line, options: ToolOptions) => Promise<RepairReport>;

const MUTATING = /^(put|delete) /;
/** Virtual time after which a call that was cut off is left alone. */
const DEAD_AFTER_MS = 600_000;

export function toolOptions(world: World): ToolOptions {
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  return { clock: world.clock, random: world.random(), logger, owner: 'tool:1' };
}

/** Path and digest of every object. */
export async function digests(world: World): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const path of await world.paths()) {
    out.set(
      path,
      createHash('sha256')
        .update(await world.bytes(path))
        .digest('hex'),
    );
  }
  return out;
}

/** Every object of `before` is there, unchanged. */
export async function expectUnchanged(world: World, before: ReadonlyMap<string, string>): Promise<void> {
  const now = await digests(world);
  const changed = [...before].filter(([path, digest]) => now.get(path) !== digest).map(([path]) => path);
  expect(changed).toEqual([]);
}

/** A dry run makes no mutating request; gives its report. */
export async function expectDryRun(world: World, dryRun: ToolCall): Promise<RepairReport> {
  const line = world.line();
  const before = await world.versions();
  const report = await world.run(dryRun(line, toolOptions(world)));
  expect(line.take().filter((request) => MUTATING.test(request))).toEqual([]);
  expect(await world.versions()).toEqual(before);
  expect(report).toMatchObject({ applied: false });
  return report;
}

/**
 * Cuts the tool off before and after each of its requests on a copy of `world`, runs it again and compares the report and,
 * through `judge`, the database with those of a run that was left alone. Gives the number of requests.
 */
export async function expectCrashesConverge(
  world: World,
  apply: ToolCall,
  judge: (world: World) => Promise<unknown>,
): Promise<number> {
  const undisturbed = await world.copy();
  const line = undisturbed.line();
  const expected = essence(await undisturbed.run(apply(line, toolOptions(undisturbed))));
  const total = line.requests.length;
  const content = await judge(undisturbed);
  const before = await digests(world);
  for (let n = 1; n <= total; n++) {
    for (const where of ['before', 'after'] as const) {
      const copy = await world.copy();
      const dying = copy.line();
      dying.cutAt(n, where);
      let isOver = false;
      const call = apply(dying, toolOptions(copy)).finally(() => {
        isOver = true;
      });
      call.catch(() => undefined);
      const limitMs = copy.clock.monotonicMs() + DEAD_AFTER_MS;
      while (!dying.isCut && !isOver && copy.clock.monotonicMs() < limitMs) await copy.clock.advance(500);
      const again = await copy.run(apply(copy.line(), toolOptions(copy)));
      expect(essence(again), `cut ${where} request ${n}`).toEqual(expected);
      await expectUnchanged(copy, before);
      expect(await judge(copy), `cut ${where} request ${n}`).toEqual(content);
    }
  }
  return total;
}

/** What of a report must not depend on where a run was cut off. */
function essence({ manifestId, requests, tookMs, alreadyDone, newObjects, ...rest }: RepairReport) {
  return { ...rest, newObjects: newObjects.length };
}
