// The cases of `npm run spec` (spec.mjs), for each model: its sizes, and the rules that are taken away.
//
// whole    the complete model in several sizes, which must keep every property
// without  what must break a property when it is done, or left out, and the size of the model in which that shows; of two rules in one
//          case each is enough, and only without both something breaks
// margins  rules that are not needed as long as the others hold: without one of them nothing may break
// ends     a size without endless runs, and a change that makes one

// ---- commit-protocol.pml

/** Sizes of the model, by what they are about. */
const ALONE = 'WRITERS=1 WRITES=2 TOUCHES=2 SLOTS=5 MANIFESTS=6';
const TAKEOVER = 'WRITERS=2 COPIES=0 SLOTS=5 MANIFESTS=5';
/** Two rows for the previous writer: its second one uses a wrong confirmation. */
const TWO_ROWS = `${TAKEOVER} WRITES=2 SECOND_WRITES=1`;
const COPIED = 'WRITERS=2 LOSSES=false SLOTS=4 MANIFESTS=4';
const OPENERS = 'WRITERS=3 FIRST_IS_GONE LOSSES=false COPIES=0 SLOTS=4 MANIFESTS=5 WRITES=2';
const THREE =
  'WRITERS=3 LOSSES=false COPIES=0 SLOTS=4 MANIFESTS=4 WRITES=2 SECOND_WRITES=1 THIRD_WRITES=0 COMMITTERS=2';
/** An opener that is overtaken before it serves. */
const OVERTAKEN = 'WRITERS=3 LOSSES=false COPIES=0 SLOTS=3 MANIFESTS=4 SECOND_WRITES=0 THIRD_WRITES=0 COMMITTERS=2';
const NO_LOG = 'WRITERS=2 WAL_OFF COPIES=0 SLOTS=4 MANIFESTS=5 TOUCHES=2';

/** For runs without end: in a network that never stops losing responses there are some. */
const ENDS = 'WRITERS=2 LOSSES=false COPIES=0 SLOTS=5 MANIFESTS=5';

const WHOLE = {
  'one writer beside other roles': ALONE,
  'a takeover, with lost answers': TAKEOVER,
  'a takeover, with lost answers and two rows': TWO_ROWS,
  'a takeover, collected in any order': `${TAKEOVER} ANY_ORDER=true`,
  'a takeover, with late and doubled requests': COPIED,
  'two openers where the writer died': OPENERS,
  'a takeover of a takeover': THREE,
  'a takeover without a log': NO_LOG,
  'a takeover beside a collector that announces': `${TAKEOVER} BOUNDARY`,
  'the same without a log': `${NO_LOG} BOUNDARY`,
};

const WITHOUT = {
  NO_FENCE: TAKEOVER,
  NO_CLAIM_CHECK: TAKEOVER,
  CLAIM_BY_EPOCH: TAKEOVER,
  CLAIM_CONFIRMS: OVERTAKEN,
  NO_FENCE_CHECK: OVERTAKEN,
  FENCE_AGE_FROM_CLAIM: OVERTAKEN,
  FENCES_NEWER: OPENERS,
  PASSED_UNREAD: TAKEOVER,
  NO_EVIDENCE_CHECK: TAKEOVER,
  PASSED_UNCHECKED: THREE,
  NO_CONFIRMATION: TAKEOVER,
  CHECKED_AT_SENDING: TAKEOVER,
  DATED_BY_RECEIPT: TAKEOVER,
  DATED_BY_LAST_SENDING: TWO_ROWS,
  CONFIRM_BEFORE_CHECK: TAKEOVER,
  MONOTONIC_ONLY: TAKEOVER,
  COMMIT_CONFIRMS: TAKEOVER,
  NO_COMMIT_LIST: ALONE,
  LIST_ENDS_COMMIT: ALONE,
  LIST_KEEPS_BASE: ALONE,
  WAL_PUT_CONFIRMS_BASE: ALONE,
  SETTLED_COMMIT_COUNTS: NO_LOG,
  NO_BOUNDARY_AT_CLAIM: `${TAKEOVER} BOUNDARY`,
  NO_BOUNDARY_AT_COMMIT: `${NO_LOG} BOUNDARY`,
  NO_PUT_ID: TAKEOVER,
  PROOF_ONLY_IN_DOUBT: COPIED,
  NO_BINDING: TAKEOVER,
  ACK_EARLY: TAKEOVER,
};

export const COMMIT_PROTOCOL = {
  file: 'commit-protocol.pml',
  whole: WHOLE,
  without: WITHOUT,
  margins: {},
  ends: { title: 'a takeover ends', macros: ENDS, without: 'SAME_SLOT' },
};

// ---- compaction.pml

/** One compactor, one job after the other, on two tables of level 0. */
const ONE = 'COMPACTORS=1 JOBS=2';
/** One compactor with two jobs at once. */
const AT_ONCE = 'COMPACTORS=1 SLOTS=2 JOBS=2';
const AT_ONCE_ON_RUN = `${AT_ONCE} RUNS_AT_START=1`;
/** Two runs of which the newer one has the row that a table of level 0 deletes. */
const THREE_LEVELS = 'COMPACTORS=1 JOBS=1 RUNS_AT_START=2 UPPER_IS_DELETED=true FLUSHES=1 FLUSHED=1';
/** A second compactor takes over at any time. */
const TAKES_OVER = 'JOBS=2';
const TAKES_OVER_1 = `${TAKES_OVER} VERSION=1`;
/** The same on two runs, which a job can make one. */
const TAKES_OVER_RUNS = `${TAKES_OVER} RUNS_AT_START=2 FLUSHES=1 FLUSHED=1`;
/** Two take over, one after the other or both at once. */
const CLAIMS = 'COMPACTORS=3 JOBS=2 LOSSES=false FLUSHES=1 FLUSHED=1';
const CLAIMS_ONE_JOB = 'COMPACTORS=3 JOBS=1 FLUSHES=1 FLUSHED=1 RUNS_AT_START=1';
const FLUSHING = 'COMPACTORS=1 JOBS=2 FLUSHES=2 FLUSHED=1 ENDED_AT_START=1';
const READER = 'COMPACTORS=1 JOBS=1 READERS=1';
const COLLECTORS = 'COMPACTORS=1 JOBS=1 COLLECTORS=2 FLUSHES=3 FLUSHED=1';
const COLLECTORS_AND_TAKEOVER = 'JOBS=1 COLLECTORS=2 FLUSHES=1 FLUSHED=1';

export const COMPACTION = {
  file: 'compaction.pml',
  whole: {
    'two jobs at once beside a writer': `${AT_ONCE} RUNS_AT_START=2 FLUSHES=2 FLUSHED=1`,
    'two jobs at once, version 1': `${AT_ONCE} RUNS_AT_START=2 FLUSHES=2 FLUSHED=1 VERSION=1`,
    'a compactor takes over': TAKES_OVER,
    'a compactor takes over, and rounds are cut off': `${TAKES_OVER} CUT_OFF=true`,
    'a compactor takes over, version 1': TAKES_OVER_1,
    'a compactor takes over beside a writer': `${TAKES_OVER} FLUSHED=1 LOSSES=false`,
    'a compactor takes over runs': TAKES_OVER_RUNS,
    'a compactor takes over runs, version 1': `${TAKES_OVER_RUNS} VERSION=1`,
    'two compactors take over': `${CLAIMS} MANIFESTS=5`,
    'two compactors take over, with lost answers': CLAIMS_ONE_JOB,
    'two compactors take over, version 1': `${CLAIMS} VERSION=1`,
    'a reader beside a compactor and a writer': 'COMPACTORS=1 JOBS=2 READERS=1 FLUSHED=1',
    'a reader where a compactor takes over': 'JOBS=1 READERS=1 FLUSHED=1 LOSSES=false',
    'two collectors beside a writer': `${COLLECTORS} CUT_OFF=true`,
    'two collectors where a compactor takes over': COLLECTORS_AND_TAKEOVER,
  },
  without: {
    BY_AGE_ONLY: ONE,
    NO_WATERMARK: ONE,
    NAMED_BEFORE_JOB: ONE,
    NO_L0_CUTOFF: FLUSHING,
    FINISHED_FORGOTTEN: `${AT_ONCE_ON_RUN} VERSION=1 FLUSHES=1 FLUSHED=1`,
    'MANIFEST_FIRST NO_SECOND_OBSERVATION': ONE,
    EXPIRED_IS_GONE: READER,
    CHECKPOINT_ON_OLDER: READER,
    NO_CHECKPOINT: ONE,
    DATED_WHEN_MADE: ONE,
    BOUNDARY_NOT_RAISED: TAKES_OVER,
    BOUNDARY_AFTER: TAKES_OVER,
    BOUNDARY_TO_NEWEST: TAKES_OVER,
    NO_BOUNDARY_AT_COMMIT: TAKES_OVER,
    NO_IF_MATCH: COLLECTORS_AND_TAKEOVER,
    TOO_HIGH_AT_FIRST: COLLECTORS,
    EPOCH_NOT_COMPARED_AGAIN: TAKES_OVER_1,
    CLAIM_FILE_ONLY: TAKES_OVER,
    NO_EPOCH_IN_FILE: TAKES_OVER,
    NO_EPOCH_AT_FILE_CLAIM: `${CLAIMS} VERSION=1`,
    UNKNOWN_IS_FAILED: AT_ONCE,
    BEGINS_BEFORE_WAITING: TAKES_OVER_RUNS,
    'NO_REVALIDATION NO_DESTINATION_CHECK': TAKES_OVER,
    'RUN_ID_REUSED NO_DESTINATION_CHECK': `${ONE} RUNS_AT_START=1`,
    'DROP_PLANNED NO_BOTTOM_CHECK': AT_ONCE_ON_RUN,
    CUT_ANYWHERE: ONE,
    NOT_CONSECUTIVE: THREE_LEVELS,
    'ANYTHING_PLANNED ANYTHING_COMMITTED': ONE,
    'SECOND_L0_JOB_PLANNED ANYTHING_COMMITTED': AT_ONCE,
  },
  margins: {
    MANIFEST_FIRST: TAKES_OVER,
    NO_SECOND_OBSERVATION: TAKES_OVER,
    CLAIM_FILE_FIRST: TAKES_OVER_1,
    NO_REVALIDATION: TAKES_OVER,
    NO_DESTINATION_CHECK: TAKES_OVER,
    RUN_ID_REUSED: AT_ONCE_ON_RUN,
    FRESH_BY_MANIFEST: TAKES_OVER,
    DROP_PLANNED: AT_ONCE_ON_RUN,
    NO_BOTTOM_CHECK: AT_ONCE_ON_RUN,
    ANYTHING_PLANNED: AT_ONCE_ON_RUN,
    ANYTHING_COMMITTED: AT_ONCE_ON_RUN,
    SECOND_L0_JOB_PLANNED: AT_ONCE_ON_RUN,
  },
};
