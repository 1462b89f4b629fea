/** The rules by which no repair makes things worse, each on fixed databases with every crash and every awakening. */
import { beforeAll, describe, expect, it } from 'vitest';
import { RULES, type Rule } from './rule-watch.ts';
import { RULE_SCRIPTS, type RuleResult, runRuleScript } from './rules.ts';

/** Fewer would mean that a script no longer gets where it should. */
const LEAST_RUNS = 30;

const LIMIT_MS = 300_000;

const results = new Map<string, RuleResult>();
beforeAll(async () => {
  for (const name of Object.keys(RULE_SCRIPTS)) results.set(name, await runRuleScript(name));
}, LIMIT_MS);

const replays = (of: (failure: string) => boolean) =>
  [...results].flatMap(([rules, { failures }]) =>
    failures
      .filter(({ failure }) => of(failure))
      .map(({ failure, disturbance }) => `${failure}\n--script FILE: ${JSON.stringify({ rules, disturbance })}`),
  );

describe('a repair that is cut off anywhere, or beside a writer that wakes up anywhere', () => {
  it.each(Object.entries(RULES))('keeps the rule %s: %s', (rule) => {
    const checks = [...results.values()].reduce((sum, r) => sum + (r.checks.get(rule as Rule) ?? 0), 0);
    expect(checks).toBeGreaterThan(LEAST_RUNS);
    expect(replays((failure) => failure.startsWith(`RULE ${rule}`))).toEqual([]);
  });

  it.each(Object.keys(RULE_SCRIPTS))('ends right on %s', (name) => {
    const { runs, failures } = results.get(name) as RuleResult;
    expect(runs).toBeGreaterThan(LEAST_RUNS);
    expect(failures).toEqual([]);
  });
});
