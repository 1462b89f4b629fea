/**
 * The words that readers of English as a second language stumble over: one list for source, tests, scripts, benchmarks and documents.
 * CONTRIBUTING shows it as a table under "Words to avoid", in the same order.
 */

export interface AvoidedWord {
  /** The left cell of the table. */
  not: string;
  /** The right cell. */
  but: string;
  pattern: RegExp;
}

/** In tests the part that decides about what happened is called the judge, and judges. */
export const JUDGED = 'judged, judging (of data)';

export const AVOIDED_WORDS: readonly AvoidedWord[] = [
  { not: 'behind, in front of (of time or order)', but: 'after, before', pattern: /\b(behind|in front of)\b/i },
  { not: 'lies (of data)', but: 'is, is stored', pattern: /\b(lies?|lain|lying)\b/i },
  { not: 'tell, tells, told', but: 'says, reports, shows', pattern: /\b(tells?|told|telling)\b/i },
  { not: 'mend', but: 'repair, fix', pattern: /\bmend(s|ed|ing)?\b/i },
  {
    not: "whoever, somebody's",
    but: 'the caller, the process that, another ...',
    pattern: /\b(whoever|somebody's)\b/i,
  },
  { not: 'meanwhile', but: 'in the meantime, or name what happened', pattern: /\bmeanwhile\b/i },
  { not: 'anew', but: 'again', pattern: /\banew\b/i },
  {
    not: 'picture, sight, looks (nouns)',
    but: 'state, observation, reads',
    pattern: /\b(pictures?|sights?|looks|(a|the|first|second) look)\b/i,
  },
  { not: 'dear', but: 'expensive, with the number', pattern: /\bdear(er|est|ly)?\b/i },
  { not: 'eldest, younger (of events)', but: 'oldest, later', pattern: /\b(eldest|younger|youngest)\b/i },
  { not: 'a trifle', but: 'slightly', pattern: /\btrifle\b/i },
  { not: JUDGED, but: 'checked, decided; evidence', pattern: /\bjudg(es?|ed|ing)\b/i },
  { not: 'strange, stranger', but: 'unexpected, foreign, another writer', pattern: /\bstrange(ly|rs?)?\b/i },
  { not: 'for ever', but: 'forever, or say until when', pattern: /\bfor ever\b/i },
  { not: 'as ever', but: 'as usual', pattern: /\bas ever\b/i },
  { not: "of one's own", but: 'your own, its own', pattern: /\bof (one's|his|her) own\b/i },
  { not: 'nothing to tell about', but: 'without findings', pattern: /\bnothing to tell\b/i },
];

/** Uses that every reader knows -> what they are. */
export const ORDINARY_USES: readonly [RegExp, string][] = [
  [/\bcannot tell\b/gi, 'the words of the verdict "unknown"'],
  [/\blooks (like|the same)\b/gi, 'how something appears'],
];

/** The same number of lines, all empty: what is left keeps its line numbers. */
export const blankLines = (text: string) => text.replace(/[^\n]/g, '');

/** Names count as the words that they are made of. */
const asWords = (line: string) => line.replace(/([a-z\d])([A-Z])/g, '$1 $2').replaceAll('_', ' ');

/** Each use of a word to avoid, as `path:line: word: say ...`. */
export function avoidedWords(path: string, text: string, except: readonly string[] = []): string[] {
  const words = AVOIDED_WORDS.filter(({ not }) => !except.includes(not));
  return text.split('\n').flatMap((line, i) => {
    const own = ORDINARY_USES.reduce((rest, [use]) => rest.replace(use, ''), asWords(line));
    return words.flatMap(({ but, pattern }) => {
      const match = pattern.exec(own);
      return match === null ? [] : [`${path}:${i + 1}: ${match[0]}: say ${but}`];
    });
  });
}
