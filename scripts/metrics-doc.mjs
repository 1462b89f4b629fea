// Writes the table of docs/metrics.md from the catalogue of metrics, between the markers `<!-- metrics -->` and `<!-- /metrics -->`.
// With `--check` nothing is written and the exit code says whether the page is current.
//
//   node scripts/run-typescript.mjs scripts/metrics-doc.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { METRICS } from '../src/common/metric-catalogue.ts';

const PAGE = join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs/metrics.md');

/** The page with its table generated again from the catalogue. */
export function renderMetrics(page, metrics = METRICS) {
  const rows = Object.entries(metrics).map(([name, { type, unit, labels, help }]) =>
    [`\`${name}\``, type, unit, labels.map((label) => `\`${label}\``).join(', '), help.replaceAll('|', '\\|')].join(
      ' | ',
    ),
  );
  const table = [
    '| metric | type | unit | labels | what it says |',
    '|---|---|---|---|---|',
    ...rows.map((r) => `| ${r} |`),
  ];
  return page.replace(
    /(<!-- metrics -->\n)[\s\S]*?(<!-- \/metrics -->)/,
    (_all, begin, end) => `${begin}${table.join('\n')}\n${end}`,
  );
}

if (/(run-typescript|metrics-doc)\.mjs$/.test(process.argv[1] ?? '')) {
  const page = readFileSync(PAGE, 'utf8');
  const current = renderMetrics(page);
  if (!process.argv.includes('--check')) writeFileSync(PAGE, current);
  else if (current !== page) {
    console.error('docs/metrics.md is not current: run node scripts/run-typescript.mjs scripts/metrics-doc.mjs');
    process.exitCode = 1;
  }
}
