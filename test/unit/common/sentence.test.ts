/** Messages inside of messages. */
import { expect, it } from 'vitest';
import { asSentence } from '../../../src/common/sentence.ts';

it.each([
  ['the object ends inside this block', 'the object ends inside this block.'],
  ['The checksum is wrong.', 'The checksum is wrong.'],
  ['why?', 'why?'],
])('%j is the sentence %j', (text, sentence) => {
  expect(asSentence(text)).toBe(sentence);
});
