/** Messages inside of messages: what a store or a decoder says need not end as a sentence does, and what follows it begins a new one. */

/** `text` with a full stop, unless it ends with a mark of its own. */
export function asSentence(text: string): string {
  return /[.!?:;]$/.test(text) ? text : `${text}.`;
}
