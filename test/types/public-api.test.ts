/**
 * What users of the package can name is what was reviewed: public-api.txt beside this file. A change of it shows here before anyone
 * depends on it.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { API_FILE, declarationFaults, publicApi, readDeclarations, undocumented } from '../../scripts/public-api.mjs';

/** Types that an export is made of and that nobody has to name -> what is named instead. */
const NOT_EXPORTED: Readonly<Record<string, string>> = {
  AuthorRole: "ManifestAuthor['role']",
  BytesRange: "ViewFacts['shown']",
  Checkpoint: "Manifest['checkpoints'][number]",
  ExpiryBucket: 'ViewFacts',
  ExternalDb: "Manifest['externalDbs'][number]",
  FilterForm: "TableInfo['filterForm']",
  METRICS: 'MetricName',
  STRATEGIES: 'ManifestStrategy',
  SealKind: "Seal['kind']",
  SealRecords: 'Seal',
  Segment: 'Manifest',
  SharedOptions: 'OpenOptions, ReaderOptions',
  TableRef: 'Manifest',
  TableType: "TableInfo['tableType']",
  Tree: 'Manifest',
  Ulid: "ViewFacts['viewId']",
  UploadingStore: 'ObjectStore',
};

describe('the public API', () => {
  const declarations = readDeclarations();

  it('is what was reviewed', () => {
    const how = 'The public API has changed. Run `npm run api` and look through the difference of public-api.txt.';
    expect(publicApi(declarations), how).toBe(readFileSync(API_FILE, 'utf8'));
  });

  it('shows nothing of what implements it', () => {
    const internal =
      /\b(ServingDb|RecoveringDb|DbReader|PinnedSnapshot|Scan|ReadPath|ToolAccess|TOOL_ACCESS|noteWrite)\b/;
    expect(publicApi(declarations)).not.toMatch(internal);
  });

  it('exports each type that what it exports names, but for those that are listed', () => {
    const [exported, reachable] = publicApi(declarations).split('# not exported, but referred to');
    const names = [...reachable.matchAll(/^(?:interface|type|const|class) (\w+)/gm)].map(([, name]) => name);
    const named = names.filter((name) => new RegExp(`\\b${name}\\b`).test(exported));
    expect(named).toEqual(Object.keys(NOT_EXPORTED));
  });

  it('says of everything what it is', () => {
    expect(undocumented(declarations)).toEqual([]);
  });

  it('refers to nothing that is left out of the declarations', () => {
    expect(declarationFaults(declarations)).toEqual([]);
  });
});
