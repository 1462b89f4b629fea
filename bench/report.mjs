/** The Markdown that the run prints: ratios with absolute medians, CPU time, floors. */
import { compare, FLOORS, median, PEERS, PHASES } from './phases.mjs';

export function table(header, rows, alignRight = true) {
  const rule = header.map((_, column) => (alignRight && column > 0 ? '---:' : '---'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

export function shortNumber(value) {
  if (value >= 1e6) return `${digits(value / 1e6)} M`;
  if (value >= 1e3) return `${digits(value / 1e3)} k`;
  return digits(value);
}

function digits(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function absolute(phase, value) {
  if (phase.kind === 'rate') return shortNumber(value);
  return `${digits(value)} ${phase.kind}`;
}

/** Enough digits that 39.6 does not read as 40. */
export function ratioText(ratio) {
  return `${ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2)}x`;
}

function cell(samples, phase, peer) {
  const values = samples[peer]?.[phase.id];
  if (!values?.length) return '–';
  const text = absolute(phase, median(values));
  const compared = peer === 'shaledb' ? undefined : compare(samples, phase, peer);
  return compared ? `${text} · **${ratioText(compared.ratio)}** (${ratioText(compared.worst)})` : text;
}

export function ratioTable(samples, peers) {
  const rows = [];
  let group;
  for (const phase of PHASES) {
    if (!peers.some((peer) => samples[peer]?.[phase.id]?.length)) continue;
    if (phase.group !== group) rows.push([`**${phase.group}**`, ...peers.map(() => '')]);
    group = phase.group;
    const unit = phase.unit ? `, ${phase.unit}/s` : '';
    rows.push([`${phase.label}${unit}`, ...peers.map((peer) => cell(samples, phase, peer))]);
  }
  return table(['', ...peers.map((peer) => PEERS[peer].title)], rows);
}

/** CPU microseconds per operation, all threads: steadier than the rate on a machine that others use too. */
export function cpuTable(cpuSamples, peers) {
  const rows = PHASES.filter((phase) => phase.kind === 'rate')
    .map((phase) => [
      `${phase.group.toLowerCase()}: ${phase.label}`,
      ...peers.map((peer) => {
        const values = cpuSamples[peer]?.[phase.id];
        return values?.length ? digits(median(values)) : '–';
      }),
    ])
    .filter((cells) => cells.slice(1).some((text) => text !== '–'));
  return table(['CPU us per operation', ...peers.map((peer) => PEERS[peer].title)], rows);
}

/** Phases of a peer whose fastest round was more than twice the slowest: their medians say less. */
export function unsteadyPhases(samples, peers) {
  const unsteady = [];
  for (const peer of peers) {
    for (const phase of PHASES) {
      const values = samples[peer]?.[phase.id];
      if (phase.kind !== 'rate' || !values?.length) continue;
      const least = Math.min(...values);
      const most = Math.max(...values);
      if (most <= 2 * least) continue;
      const where = `${phase.group.toLowerCase()}: ${phase.label}`;
      unsteady.push(`${PEERS[peer].title}, ${where}: ${shortNumber(least)} to ${shortNumber(most)}`);
    }
  }
  return unsteady;
}

/** Every floor whose two sides were measured, with its verdict. */
export function checkFloors(samples) {
  const checked = [];
  for (const { peer, phase: id, atLeast } of FLOORS) {
    const phase = PHASES.find((candidate) => candidate.id === id);
    const compared = compare(samples, phase, peer);
    if (!compared) continue;
    checked.push({
      what: `${phase.group.toLowerCase()}: ${phase.label}, against ${PEERS[peer].title}`,
      limit: `at least ${atLeast}x`,
      measured: `${ratioText(compared.ratio)} (worst ${ratioText(compared.worst)})`,
      ok: compared.ratio >= atLeast,
    });
  }
  return checked;
}

export function verdictTable(verdicts) {
  return table(
    ['floor', 'limit', 'measured', ''],
    verdicts.map(({ what, limit, measured, ok }) => [what, limit, measured, ok ? 'pass' : '**MISSED**']),
    false,
  );
}
