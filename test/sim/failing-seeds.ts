/**
 * Seeds of random runs that failed once, with what was wrong then: each was seen to fail with the mistake put back. They are
 * replayed by the tests. A seed means what the script's generator draws today: after a change of the generator look for new ones. These are
 * replayed without a compactor and a collector, of which there was none when they were found.
 */
export const FAILED_RANDOM_SEEDS: readonly [seed: number, wasWrong: string][] = [
  [17, 'a list that did not show the claim of an opening was taken for a takeover'],
  [747, 'two processes drew the same name for their tables after the clock had gone back: a lone writer was fenced'],
  [4506, 'a bit flipped on the way made the writer’s own object another’s: a lone writer was fenced'],
  [398, 'three reads of the newest manifest that were bad in different ways refused a reader'],
  [
    599,
    'two reads of the writer’s own object that were bad in different ways made it another’s: a lone writer was fenced',
  ],
  [30002582, 'the rest of a wait that rounding left made a hanging request look at its time forever'],
  [30006910, 'the same after the machine had been suspended'],
  [30005756, 'two damaged reads of one object made the probe refuse a good store'],
  [30009053, 'a damaged bit turned the winner of the probe’s race into another creator: a good store was refused'],
  [1437, 'two reads that were bad in different ways were called damage at rest, and refused an opening'],
];

/** The same for scripts in which most steps make work for the compactor and the collector. */
export const FAILED_UPKEEP_SEEDS: readonly [seed: number, wasWrong: string][] = [
  [8, 'a commit of the same process during a round ended the collector for good'],
  [9, 'the same with the commit of a compaction'],
  [1001431, 'a flush to tables that a close cut off, level 0 being full, was judged a fault'],
  [1111057, 'the same where the close made room at last'],
  [1008855, 'a boundary that was read wrong twice, by the same bit, let a manifest above it be deleted'],
  [1009708, 'an object that the run itself took away was missed when a late manifest was stored'],
  [235, 'a bit that was flipped on the way made another number of a boundary, which was not raised therefore'],
];

/** The same for runs with damage at rest. */
export const FAILED_DAMAGE_SEEDS: readonly [seed: number, wasWrong: string][] = [
  [17, 'a table was rebuilt from a log of which an object had been emptied, and the rows in it were silently missing'],
  [22, 'what was written after a table was lost whole counted as perhaps older than the loss, forever'],
  [54, 'a repair of the log took an emptied object for a fence and lost its rows without a word'],
  [147, 'the same with the last object of the log'],
  [200516, 'a repair said so of the only object that was left of a log, and that no row was lost'],
  [200640, 'an opening did so where no other object lay after the replay point'],
  [200611, 'the same where the objects before it lay in each other’s place'],
  [200418, 'a repair of manifests took an emptied table for one without rows and went on from before it, losing them'],
  [200750, 'a flipped bit in the version of the identity was taken for a newer program’s'],
  [
    303112,
    'a table in the place of another that ended just after where its rows should was read as if it were that one',
  ],
  [500327, 'an emptied object was taken for a fence although the damaged one after it said what had been there'],
  [501056, 'of two objects lost at the end of a log the repair called one row lost, and took the number of the other'],
  [501557, 'the same where one was deleted and the other emptied'],
  [502440, 'versions that a table had not kept, found in the log, stood for rows of it that were lost'],
  [502852, 'four bytes in the seal of a manifest were healed wrongly, and called proven by the hash of its body'],
  [600715, 'after the tables an emptied object beside a fence of zero bytes was taken for another fence'],
  [604761, 'the same by an opening that recovers by itself'],
  [603004, 'the same with the first two objects of a log'],
  [602521, 'the same where the manifest before was damaged'],
  [
    702154,
    'manifests in each other’s place counted as claims, which made an emptied object of the log look like a fence',
  ],
  [938037, 'a table that was cut just after a block was repaired as if nothing had followed'],
  [
    926329,
    'an emptied object at the end of the log was taken for the fence of a claim that only an unreadable manifest could have made',
  ],
  [934674, 'the same, with exchanged objects and manifests besides'],
  [
    915504,
    'an emptied object whose table was emptied, too, was taken for such a fence, although a manifest named what it had been',
  ],
  [1002750, 'the claim of a repair that was cut off before its fence made room for an emptied object'],
  [1112845, 'a fence was called lost although the manifest that claimed its epoch lay in the place of another'],
  [
    1115976,
    'a fence in the place of the last object of the log, after a manifest that had been repaired, was believed',
  ],
  [1218979, 'a changed version digit of the identity was taken for a newer form'],
  [603258, 'a table that was gone, and that only a damaged manifest had named, was expected to be known to the repair'],
];

/** The same for repairs beside a writer that lives. */
export const FAILED_BESIDE_SEEDS: readonly [seed: number, wasWrong: string][] = [
  [
    99,
    'a manifest that a live writer committed during a repair of manifests was taken for missing, and the tree went back',
  ],
  [332, 'the same, with a newest manifest that could be healed'],
  [60186, 'a repair of manifests took the epoch of a live writer whose claim was the damaged manifest'],
  [60515, 'a table was called rebuilt from a log whose last object was emptied, with nothing readable after it'],
  [50291, 'rows of the log that lay where a fence of zero bytes had stood were dropped, and none was called lost'],
  [
    50784,
    'a lost table was filled with rows of a newer one that had been given up, below older versions of their keys',
  ],
];

const SLEPT = 'a writer whose clocks both stood still while it slept dated its first list by no clock of the store';

/** The same for runs of several writers. */
export const FAILED_WRITERS_SEEDS: readonly [seed: number, wasWrong: string][] = [
  [40003077, `${SLEPT}: it acknowledged what its successor had not found`],
  [40023282, `${SLEPT}: the same with another pause`],
  [40033561, `${SLEPT}: a reader missed what it acknowledged`],
];
