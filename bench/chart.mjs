/**
 * The figures as a chart: one group of horizontal bars per phase, one bar per peer, rates on a logarithmic scale. A string
 * template without dependencies; colours follow the reader's light or dark scheme, fonts are the reader's own.
 */
import { compare, median, PEERS, PHASES } from './phases.mjs';
import { ratioText, shortNumber } from './report.mjs';

const WIDTH = 860;
const LABEL_WIDTH = 200;
const VALUE_WIDTH = 150;
const MARGIN = 24;
const BAR_HEIGHT = 11;
const BAR_PITCH = 13;
const GROUP_GAP = 10;
const SECTION_HEIGHT = 30;
const TOP = 122;
const FOOTER_HEIGHT = 64;

const STYLE = `
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .faint { fill: #59636e } .grid { stroke: #d8dee4; stroke-width: 1 }
  .shaledb { fill: #0a66c2 } .slatedb { fill: #c4602d } .classic-level { fill: #5f8f6b } .lmdb { fill: #a99bbd }
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; font-size: 12px }
  .title { font-size: 20px; font-weight: 600 } .section { font-size: 13px; font-weight: 600 } .small { font-size: 10.5px }
  .end { text-anchor: end } .middle { text-anchor: middle } .strong { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #2b323b }
    .shaledb { fill: #4c9df3 } .slatedb { fill: #e08a55 } .classic-level { fill: #7fb38c } .lmdb { fill: #8f7fa8 }
  }`;

function escapeXml(text) {
  return String(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function text(x, y, className, content) {
  return `<text x="${round(x)}" y="${round(y)}" class="${className}">${escapeXml(content)}</text>`;
}

function round(value) {
  return Number(value.toFixed(1));
}

/** `samples[peer][phase]` are the measurements of all rounds; the lines of text come from the run. Returns the SVG. */
export function drawChart({ samples, peers, subtitle, machine, date, versions }) {
  const phases = PHASES.filter(
    (phase) => phase.kind === 'rate' && !phase.against && peers.some((peer) => samples[peer]?.[phase.id]?.length),
  );
  const medianOf = (peer, phase) => {
    const values = samples[peer]?.[phase.id];
    return values?.length ? median(values) : undefined;
  };
  const all = phases.flatMap((phase) => peers.map((peer) => medianOf(peer, phase))).filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...all, 1e4)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all, 1e5)) - 0.05));
  const plotLeft = MARGIN + LABEL_WIDTH;
  const plotWidth = WIDTH - plotLeft - VALUE_WIDTH - MARGIN;
  const x = (value) => plotLeft + ((Math.log10(value) - low) / (high - low)) * plotWidth;

  const body = [];
  let y = TOP;
  let section;
  for (const phase of phases) {
    if (phase.group !== section) {
      section = phase.group;
      y += SECTION_HEIGHT;
      body.push(text(MARGIN, y - 10, 'ink section', section));
    }
    const present = peers.filter((peer) => medianOf(peer, phase) !== undefined);
    const groupHeight = present.length * BAR_PITCH;
    body.push(text(plotLeft - 10, y + groupHeight / 2 + 3, 'ink end', phase.label));
    for (const peer of present) {
      const value = medianOf(peer, phase);
      const end = Math.max(x(value), plotLeft + 1);
      body.push(
        `<rect x="${plotLeft}" y="${round(y)}" width="${round(end - plotLeft)}" height="${BAR_HEIGHT}" rx="1.5" class="${peer}"/>`,
      );
      const ratio = peer === 'shaledb' ? undefined : compare(samples, phase, peer)?.ratio;
      const label = `${shortNumber(value)} ${phase.unit}/s`;
      const className = peer === 'shaledb' ? 'ink small strong' : 'faint small';
      body.push(text(end + 6, y + 9.5, className, ratio === undefined ? label : `${label}  ·  ${ratioText(ratio)}`));
      y += BAR_PITCH;
    }
    y += GROUP_GAP;
  }
  const bottom = y;
  const height = bottom + FOOTER_HEIGHT;

  const grid = [];
  for (let power = low; power <= high; power++) {
    const at = round(x(10 ** power));
    grid.push(`<line x1="${at}" y1="${TOP}" x2="${at}" y2="${bottom}" class="grid"/>`);
    grid.push(text(at, TOP - 6, 'faint small middle', shortNumber(10 ** power).replace(/\.0+(?= |$)/, '')));
  }

  let legendX = MARGIN;
  const legend = peers.map((peer) => {
    const { title, package: packageName } = PEERS[peer];
    const label = packageName.startsWith('@')
      ? `${title}, ${packageName} ${versions[peer]}`
      : `${title} ${versions[peer]}`;
    const entry = `<rect x="${round(legendX)}" y="71" width="11" height="11" rx="1.5" class="${peer}"/>${text(legendX + 17, 81, 'ink small', label)}`;
    legendX += 17 + label.length * 5.6 + 22;
    return entry;
  });

  const title = 'ShaleDB side by side: operations per second, logarithmic scale';
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${round(height)}" viewBox="0 0 ${WIDTH} ${round(height)}" role="img" aria-labelledby="title">
<title id="title">${escapeXml(title)}</title>
<style>${STYLE}
</style>
<rect width="${WIDTH}" height="${round(height)}" class="paper"/>
${text(MARGIN, 36, 'ink title', title)}
${text(MARGIN, 57, 'faint', `${subtitle}. Longer is better; "12x" = ShaleDB does 12 times as many.`)}
${legend.join('\n')}
${grid.join('\n')}
${body.join('\n')}
${text(MARGIN, bottom + 22, 'faint small', 'Writes are not awaited until durable, and the peers do not promise the same about them. Tables are cached before they are read.')}
${text(MARGIN, bottom + 40, 'faint small', `${machine}  ·  ${date}`)}
</svg>
`;
}
