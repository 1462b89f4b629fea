/**
 * The table of decoders: everything that turns bytes, names or answers from outside into values. Each entry makes inputs (from
 * honest seeds, damaged so that most get past the checksums) and feeds them to the decoder; whatever the decoder accepts must
 * then be usable: walked, looked into, encoded again.
 *
 * An entry throws or rejects with what the decoder threw; which errors are allowed is judged by the runner.
 */
import { loadCodec } from '../../src/format/codecs.ts';
import { CODECS } from '../../src/format/table-info.ts';
import { manifestTargets } from './manifest-targets.ts';
import { answerTarget, listTarget } from './s3-targets.ts';
import { seedObjects } from './seeds.ts';
import { splitTable } from './table-parts.ts';
import { codecTarget, footerTarget, sealTarget, sectionTargets, tableTarget, walTarget } from './table-targets.ts';
import type { Target } from './target.ts';
import { smallTargets, textTargets } from './text-targets.ts';

/** All targets with their seeds; made once. */
export async function fuzzTargets(): Promise<Target[]> {
  const seeds = await seedObjects();
  const split = async (all: readonly Uint8Array[]) =>
    (await Promise.all(all.map(splitTable))).filter((parts) => parts !== undefined);
  const tables = await split(seeds.tables);
  const wal = await split(seeds.wal);
  const codecs = await Promise.all(CODECS.filter((name) => name !== 'none').map(loadCodec));
  const parts = [...tables, ...wal];
  return [
    ...manifestTargets(seeds),
    ...sectionTargets(parts),
    ...codecs.map((codec) => codecTarget(codec, parts)),
    footerTarget(seeds),
    sealTarget(parts),
    walTarget(wal, seeds),
    await tableTarget(tables, seeds),
    ...smallTargets(seeds),
    ...textTargets(seeds),
    listTarget(),
    answerTarget(),
  ];
}
