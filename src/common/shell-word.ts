/** Words as a shell takes them: what every command that is printed for pasting is made of. */

const SAFE_WORD = /^[\w@%+=:,./-]+$/;

/** The word, in single quotes where a shell would take it for something else. */
export function shellWord(word: string): string {
  return SAFE_WORD.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
