/**
 * Ranges of sequence numbers with both ends included: `bigint` in findings, reports and the ledger, which outlive a process and are
 * handed to users; `number` inside of the engine, whose numbers stay below 2^53.
 */
export interface SeqRange<N extends bigint | number = bigint> {
  /** The lowest number. */
  min: N;
  /** The highest number; `Infinity` (of numbers only): nothing bounds them. */
  max: N;
}
