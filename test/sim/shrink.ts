/** Makes a failing script smaller: leaves out steps, rows and faults as long as some failure remains. */
import type { Script } from './script.ts';
import { SingleRun } from './single.ts';

async function fails(script: Script): Promise<boolean> {
  return (await new SingleRun(script).run()).failure !== undefined;
}

export async function shrink(script: Script, limitRuns = 400): Promise<Script> {
  let best = script;
  let runs = 0;
  const attempt = async (candidate: Script): Promise<boolean> => {
    if (runs++ >= limitRuns || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (const kind of Object.keys(best.rates)) await attempt({ ...best, rates: { ...best.rates, [kind]: 0 } });
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.steps.length; ) {
      const steps = [...best.steps.slice(0, at), ...best.steps.slice(at + size)];
      if (!(await attempt({ ...best, steps }))) at += size;
    }
  }
  return best;
}
