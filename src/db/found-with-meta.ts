/** A value with what is known about it: a class for the same reason as a row (lsm/read/scan-row.ts). */
import type { Finding } from '../common/finding.ts';
import { toPlain } from '../common/plain.ts';
import { forJson } from '../lsm/read/scan-row.ts';
import type { ValueWithMeta, ValueWithMetaJson } from './reads.ts';

type Meta = Omit<ValueWithMeta, 'value' | 'toJSON'>;

export class FoundWithMeta<V> implements ValueWithMeta<V> {
  value: V;
  seq: bigint;
  createTs: number | undefined;
  expireTs: number | undefined;
  possiblyStale: boolean;
  findings: readonly Finding[];

  constructor(value: V, { seq, createTs, expireTs, possiblyStale, findings }: Meta) {
    this.value = value;
    this.seq = seq;
    this.createTs = createTs;
    this.expireTs = expireTs;
    this.possiblyStale = possiblyStale;
    this.findings = findings;
  }

  toJSON(): ValueWithMetaJson {
    const { value, seq, createTs, expireTs, possiblyStale, findings } = this;
    return {
      value: forJson(value),
      seq: String(seq),
      ...(createTs !== undefined && { createTs }),
      ...(expireTs !== undefined && { expireTs }),
      possiblyStale,
      findings: toPlain(findings),
    };
  }
}
