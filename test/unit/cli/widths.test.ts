/** What fits a terminal: help and reports at 60, 80 and 120 columns, without a terminal and with NO_COLOR. Commands are never broken. */
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { PLAIN, widthOf } from '../../../src/cli/paint.ts';
import { sstText } from '../../../src/cli/sst-text.ts';
import { runWith } from '../../support/command-line.ts';
import { damagedTable, verifyReport } from '../../support/report-samples.ts';

/** What is pasted, or is one word, may go beyond the line. */
const MAY_BE_LONG = /shaledb |:\/\/|^\s*(--)?\S+( \S+)?$/;
const tooLong = (text: string, columns: number) =>
  text.split('\n').filter((line) => widthOf(line) > columns && !MAY_BE_LONG.test(line));

describe.each([60, 80, 120])('at %d columns', (columns) => {
  it('the overview and every help fit', async () => {
    for (const words of [['--help'], ...COMMANDS.map(({ name }) => [...name, '--help'])]) {
      const { out } = await runWith(words, { columns });
      expect(tooLong(out, Math.min(columns, 100)), words.join(' ')).toEqual([]);
    }
  });
  it('so do they without a terminal, by COLUMNS', async () => {
    const onTerminal = await runWith(['--help'], { columns });
    expect(await runWith(['--help'], { columns: null, env: { COLUMNS: String(columns) } })).toEqual(onTerminal);
  });
  it('usage errors fit', async () => {
    const { err } = await runWith(['doctor'], { columns });
    expect(tooLong(err, columns)).toEqual([]);
  });
  it('a verdict fits, with NO_COLOR on a terminal as in a pipe', async () => {
    const tools = { verify: async () => verifyReport({ findings: [], nextSteps: [] }) };
    const words = ['doctor', 'file:///db'];
    const { out } = await runWith(words, { tools, columns, isTerminal: true, env: { NO_COLOR: '1' } });
    expect(out).toBe((await runWith(words, { tools, columns })).out);
    expect(tooLong(out, columns)).toEqual([]);
  });
});

it('damage is drawn where it is among the rows, whatever the keys are', () => {
  const report = damagedTable();
  const blocks = Array.from({ length: 40 }, (_, i) => ({
    ...report.blocks[0],
    rows: 50,
    crc: i === 2 || i === 3 ? ('bad' as const) : ('ok' as const),
  }));
  const text = sstText(
    { ...report, blocks, findings: [] },
    { paint: PLAIN, columns: 88, redactKeys: false, location: 'x' },
    false,
  );
  const strip = text.find((line) => line.startsWith('rows    -'))!.slice(8);
  expect([strip.length, strip.indexOf('X'), strip.lastIndexOf('X')]).toEqual([80, 4, 7]);
});
