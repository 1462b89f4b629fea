// The blocks of code in README.md and the pages of docs: which there are, what each is, and the programs that they make. Pure; what
// runs them is run-docs.mjs.
//
// A block of `js` or `ts` is a program of its own. What it needs besides and a reader does not is in comments of the page, which browsers
// do not show:
//
//   <!-- before: CODE -->    runs before the block that follows
//   <!-- after: CODE -->     runs after the block before it
//   <!-- continues -->       the block that follows goes on with the program of the block before
//   <!-- output of PATH -->  the `text` that follows is what this program prints; `[...]` stands for lines left out
//   <!-- drawing -->         the `text` that follows is not an output
//
// A block of `text` that comes next after a program, with nothing but empty lines between, is what that part of it prints.

const FENCE = /^```(\w*)\n([\s\S]*?)^```$/gm;
/** Regions that other scripts write and check: outputs of the command line, examples of commands, tables. */
const GENERATED = /<!-- (output:[\w-]+|commands) -->[\s\S]*?<!-- \/(output|commands) -->/g;
const MARK = /<!-- (before|after):\s([\s\S]*?)\s?-->|<!-- (continues|drawing) -->|<!-- (output of) (\S+) -->/g;

/** @returns {{ language: string, text: string, at: number, end: number, line: number, gap: string }[]} with the text before each */
function fencesOf(page) {
  const generated = [...page.matchAll(GENERATED)].map((m) => [m.index, m.index + m[0].length]);
  let last = 0;
  const fences = [];
  for (const match of page.matchAll(FENCE)) {
    const at = match.index;
    const end = at + match[0].length;
    if (!generated.some(([from, to]) => at >= from && at < to)) {
      const line = page.slice(0, at).split('\n').length;
      fences.push({ language: match[1], text: match[2], at, end, line, gap: page.slice(last, at) });
    }
    last = end;
  }
  fences.forEach((fence, i) => {
    fence.after = page.slice(fence.end, fences[i + 1]?.at ?? page.length);
  });
  return fences;
}

function marksOf(gap) {
  const marks = [...gap.matchAll(MARK)].map(([, kind, text, word, output, path]) => ({
    kind: kind ?? word ?? output,
    text: text ?? path ?? '',
  }));
  return (kind) => marks.filter((m) => m.kind === kind).map((m) => m.text);
}

const isBare = (gap) => gap.trim() === '';

/**
 * @typedef {{ text: string, at: number, end: number, where: string, printed?: string, path?: string }} Shown an output in a page
 * @typedef {{ code: string, before: string, after: string, where: string, output?: Shown }} Part
 * @typedef {{ where: string, language: string, parts: Part[] }} Program
 */

/**
 * What a page shows: programs with their parts and outputs, lines of shell, outputs of example programs. Throws if a block is none
 * of these, so that nothing is shown that nothing runs.
 * @param {string} name
 * @param {string} page
 * @returns {{ programs: Program[], shell: { line: string, where: string }[], examples: Shown[], json: { text: string, where: string }[] }}
 */
export function blocksOf(name, page) {
  const plan = { programs: [], shell: [], examples: [], json: [] };
  let program;
  let part;
  for (const fence of fencesOf(page)) {
    const where = `${name}:${fence.line}`;
    const marks = marksOf(fence.gap);
    if (fence.language === 'js' || fence.language === 'ts') {
      part = {
        code: fence.text,
        before: marks('before').join('\n'),
        after: afterOf(fence.after),
        where,
        output: undefined,
      };
      if (marks('continues').length > 0) {
        if (program === undefined) throw new Error(`${where} continues no program`);
        program.parts.push(part);
      } else {
        program = { where, language: fence.language, parts: [part] };
        plan.programs.push(program);
      }
    } else if (fence.language === 'text') {
      placeText(plan, fence, marks, part, where);
      part = undefined;
    } else if (fence.language === 'sh') {
      plan.shell.push(...shellLines(fence.text).map((line) => ({ line, where })));
      part = undefined;
    } else if (fence.language === 'json') {
      plan.json.push({ text: fence.text, where });
      part = undefined;
    } else {
      throw new Error(
        `${where}: a block of ${fence.language === '' ? 'no language' : fence.language}, which nothing runs`,
      );
    }
  }
  return plan;
}

const afterOf = (gap) => marksOf(gap)('after').join('\n');

function placeText(plan, fence, marks, part, where) {
  const shown = { text: fence.text, at: fence.at, end: fence.end, where };
  const [example] = marks('output of');
  if (example !== undefined) plan.examples.push({ ...shown, path: example });
  else if (marks('drawing').length > 0) return;
  else if (part !== undefined && isBare(fence.gap.replace(/<!-- after:[\s\S]*?-->/g, ''))) part.output = shown;
  else throw new Error(`${where}: this text is neither the output of a program nor marked as a drawing`);
}

/** Commands of a block of shell; continued lines as one, comments left out, `a && b` as two. */
function shellLines(text) {
  return text
    .replace(/\s*\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')
    .flatMap((line) => line.split(/\s+&&\s+/));
}

/** Between the outputs of two parts. */
export const PART_END = '\u0000part\u0000';

/** One module of all parts: imports first, each name once. */
export function sourceOf({ parts }) {
  const imports = new Map();
  const take = (code) =>
    code.replace(/(?<=^|; )import\s+(type\s+)?\{([^}]*)\}\s+from\s+'([^']+)';?/gm, (_all, isType, names, from) => {
      const known = imports.get(from) ?? new Map();
      imports.set(from, known);
      for (const each of names.split(',').map((n) => n.trim())) {
        if (each === '') continue;
        const local = each
          .split(/\s+as\s+/)
          .at(-1)
          .replace(/^type\s+/, '');
        known.set(local, isType === undefined ? each : `type ${each}`);
      }
      return '';
    });
  const bodies = parts.map(({ before, code, after }) =>
    [take(before), take(code), take(after), `console.log(${JSON.stringify(PART_END)});`].join('\n'),
  );
  const heads = [...imports].map(([from, names]) => `import { ${[...names.values()].join(', ')} } from '${from}';`);
  return [...heads, ...bodies, 'export {};'].join('\n');
}

/** Whether the shown lines are those printed; `[...]` stands for any. */
export function isShown(shown, printed) {
  const lines = printed.trimEnd();
  if (!shown.includes('[...]')) return shown.trimEnd() === lines;
  let from = 0;
  for (const piece of shown.split(/^\[\.\.\.\]\n/m).map((p) => p.trimEnd())) {
    const at = lines.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return true;
}
