/** The map of damage in the key space for commands whose reports do not hold the manifest. */
import type { ToolOptions } from '../admin.ts';
import { type Finding, isDbError } from '../index.ts';
import { damageMap } from './manifest-text.ts';
import { damagedRanges } from './maps.ts';
import type { Tools } from './tools.ts';
import type { View } from './words.ts';

/** Nothing where no finding names keys, or where the manifest cannot be read: the findings say that already. */
export async function newestManifestMap(
  tools: Tools,
  common: ToolOptions,
  findings: readonly Finding[],
  view: View,
): Promise<string[]> {
  if (damagedRanges(findings).length === 0) return [];
  try {
    return damageMap(await tools.manifestInspect(view.location, undefined, common), findings, view);
  } catch (error) {
    if (!isDbError(error)) throw error;
    return [];
  }
}
