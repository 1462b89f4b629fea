/*
 * Jobs, tables and the collector: how compactors merge tables and commit the results, how another compactor takes over, and what a
 * collector deletes, while requests get lost or come late and every process may stall or end between any two steps. Checked
 * exhaustively by `npm run spec`; README.md says which step is which function of src/, what is left out, and how to read a
 * counterexample.
 *
 * The commit protocol itself (how ids of manifests are won, and what an answer is worth) is in commit-protocol.pml. Here a PUT of the
 * next manifest takes its id, or is refused, or fills an id that a collector has emptied, which the boundary file shows.
 *
 * There is no clock. A checkpoint of a commit expires at any time after the commit (`lease`), and what a reader may still
 * read is what a lease covers. A collector waits for no age: nothing here may depend on one. Names of tables are ordered
 * only where a rule orders them: tables of level 0 among each other, jobs among each other, and an output not before its job. So clocks of
 * hosts may differ by any time.
 *
 * Rows are bits. Each flush writes one row; one flush deletes row 0 as well, by the tombstone TOMB. A merge drops row 0 where
 * it meets the tombstone, and the tombstone at the bottom.
 *
 * A macro given with -D takes one rule away; scripts/spec.mjs lists them and the property that each one breaks.
 */

#ifndef VERSION
#define VERSION 2      /* of the compactions file */
#endif
#ifndef COMPACTORS
#define COMPACTORS 2   /* compactor 0 holds the epoch at the start; the others claim it, one after the other, at any time */
#endif
#ifndef COLLECTORS
#define COLLECTORS 1
#endif
#ifndef READERS
#define READERS 0      /* 1: a reader that makes a checkpoint */
#endif
#ifndef FLUSHES
#define FLUSHES 2      /* tables of level 0, ever */
#endif
#ifndef FLUSHED
#define FLUSHED 2      /* those that are in level 0 at the start */
#endif
#ifndef RUNS_AT_START
#define RUNS_AT_START 0   /* 0 to 2 */
#endif
#ifndef UPPER_IS_DELETED
#define UPPER_IS_DELETED false   /* whether run 2 has row 0, else run 1 */
#endif
#ifndef JOBS
#define JOBS 2         /* jobs that are ever chosen */
#endif
#ifndef WORKS
#define WORKS 2        /* attempts at jobs at a time */
#endif
#ifndef MOST_OUTPUTS
#define MOST_OUTPUTS (JOBS + 1)   /* tables that jobs store, ever: one that is taken over may store a second one */
#endif
#ifndef SLOTS
#define SLOTS 1        /* jobs that one compactor works on at a time */
#endif
#ifndef MANIFESTS
#define MANIFESTS 6    /* greatest manifest id */
#endif
#ifndef CUT_OFF
#define CUT_OFF false  /* whether rounds of collectors are cut off; all else happens to them anyway */
#endif
#ifndef ENDED_AT_START
#define ENDED_AT_START 0  /* 1: the file lists a finished job at the start */
#endif
#ifndef RUNS
#define RUNS (RUNS_AT_START + JOBS - ENDED_AT_START)   /* greatest id of a run */
#endif
#ifndef LOSSES
#define LOSSES true    /* whether answers get lost */
#endif

/* ---- properties */

#define no_needed_table_deleted 1
#define no_needed_manifest_deleted 2
#define no_table_of_a_job_deleted 3
#define no_row_lost 4
#define no_deleted_row_back 5
#define no_row_double 6
#define no_run_overwritten 7
#define what_was_committed_counts 8
#define no_sound_database_called_damaged 9

#define REQUIRE(condition, property) \
  if \
  :: (condition) \
  :: else -> printf("BROKEN: property %d\n", property); assert(false) \
  fi

#define bit(n) (1 << (n))
#define WHEN(condition, action) \
  if \
  :: (condition) -> action \
  :: else \
  fi

/* ---- the store */

/* Tables by number: those of level 0, the runs at the start, outputs. A set of tables is a mask. */
#define OUTPUTS (FLUSHES + RUNS_AT_START)
#define TABLES (OUTPUTS + MOST_OUTPUTS)
short stored;
byte content[TABLES];
byte nameOf[TABLES];      /* of an output: 1 + the job before which its name is not */
byte outputs;             /* stored ever */
#define TOMB 128
/* The flush that deletes row 0. */
#if RUNS_AT_START > 0
#define DELETES_IN 0
#else
#define DELETES_IN 1
#endif
#define rowsOf(f) (bit((f) + RUNS_AT_START) | ((f) == DELETES_IN -> TOMB : 0))

/* The newest manifest. */
byte newest;
byte newestEpoch;         /* of the compactor */
byte l0;                  /* a mask; newer tables have greater numbers */
byte marker;              /* 1 + the newest table that left level 0; 0: none has */
byte flushedTo;           /* how many flushes are in tables */
byte runs;                /* a mask of ids; newer runs have greater ones */
byte runTable[RUNS + 1];
short pins;               /* manifests that checkpoints of commits name */
byte readerPin;           /* the manifest that the checkpoint of the reader names; 0: it has none */

short here;               /* manifests that are stored */
short named[MANIFESTS + 1];   /* tables that a manifest names, where it still matters */
short lease;              /* manifests that a commit has replaced not yet as long ago as its checkpoint is to last */
byte boundary;
#ifdef DATED_WHEN_MADE
short early;              /* manifests on which a checkpoint had expired before it was stored */
#define expired (~lease | early)
#else
#define expired (~lease)
#endif

/* The newest compactions file. */
byte fileEpoch;
#define SUBMITTED 1
#define RUNNING 2
#define COMPACTED 3
#define FINISHED 4
byte status[JOBS];        /* in the list; 0: not listed */
byte record;              /* jobs on which the author of the file works: a mask */
byte noted[JOBS];         /* 1 + the output that the list names; 0: none */
byte jobL0[JOBS];         /* what the job is to merge, by ids: masks */
byte jobRuns[JOBS];
byte jobInto[JOBS];       /* the destination */
byte nextJob;

/* ---- attempts at jobs, in the memory of compactors */

#define IDLE 0
#define MERGING 1
#define STORED 2          /* the output is stored */
#define NOTED 3           /* and the file says so */
#define SENT 4            /* the manifest with the result is under way */
#define UNKNOWN 5         /* without an answer */
#define APPLIED 6
#define REFUSED 7
#define ENDED 8           /* decided; the file does not say so */
byte phase[WORKS];
byte owner[WORKS];
byte job[WORKS];
byte srcL0[WORKS];
byte srcRuns[WORKS];
short srcTables[WORKS];
byte into[WORKS];
bool dropped[WORKS];      /* a tombstone */
byte output[WORKS];       /* 1 + table; 0: not stored */
byte slot[WORKS];         /* manifest id of the PUT */
bool foreign[WORKS];      /* another compactor has made the output */
byte base[WORKS];         /* the manifest that the checkpoint names, once the result is in a manifest that counts */

/* ---- processes */

#define AWAY 0
#define SAW_FILE 1
#define CLAIMED 2         /* in one of the two places */
#define HOLDS 3
#define OVER 4
byte at[COMPACTORS];
byte epoch[COMPACTORS];
byte manifestOf[COMPACTORS];   /* id of the manifest in use */

byte writerAt;            /* 0; 1: a table is stored; 2: its manifest is sent, without an answer */
byte writerBase;
byte acked;               /* rows, and TOMB, that are confirmed as flushed */

#define READ_JOBS 1
#define READ_MANIFEST 2
#define LISTED 3
#define AT_BOUNDARY 4
#define RAISED 5
#define JOBS_AGAIN 6
#define SURE 7
#define AFTER 8
#ifdef NO_SECOND_OBSERVATION
#define BOUNDARY_DONE SURE
#else
#define BOUNDARY_DONE RAISED
#endif
byte collectorAt[COLLECTORS];
byte mark[COLLECTORS];    /* 1 + the oldest job of the file; 0: it has none */
short spared[COLLECTORS]; /* tables that are needed */
byte cut[COLLECTORS];     /* 1 + the first table of level 0 that may be under way */
short goes[COLLECTORS];
short goesManifests[COLLECTORS];
byte sawNewest[COLLECTORS];
byte sawBoundary[COLLECTORS];

byte readerAt;            /* 0; 1: it knows the newest manifest; 2: it has its checkpoint; 3: it is done */
byte readerBase;

byte pickL0, pickRuns;    /* within one step */
byte me, i, k, r, v, d;
short s, t;
/* Steps are told apart by nothing else. */
#define done() me = 0; i = 0; k = 0; r = 0; v = 0; d = 0; s = 0; t = 0

/* ---- rows */

inline addSource(n) {
  REQUIRE((d & content[n]) == 0, no_row_double);
  if
  :: d & TOMB -> v = v | (content[n] & ~1)
  :: else -> v = v | content[n]
  fi;
  d = d | content[n]
}

/* v := the rows that a reader of the newest manifest finds; s := its tables. */
inline readNewest() {
  v = 0; d = 0; s = l0;
  i = FLUSHES;
  do
  :: i > 0 -> i--; WHEN(l0 & bit(i), addSource(i))
  :: else -> break
  od;
  i = RUNS;
  do
  :: i > 0 -> WHEN(runs & bit(i), addSource(runTable[i]); s = s | bit(runTable[i])); i--
  :: else -> break
  od;
  k = 0
}

inline checkRows() {
  /* A row that is being deleted is there or not. */
  REQUIRE((acked & ~TOMB & ~v & ~(flushedTo > DELETES_IN -> 1 : 0)) == 0, no_row_lost);
  REQUIRE(!(acked & TOMB) || !(v & 1), no_deleted_row_back)
}

inline acknowledge(rows) {
  acked = acked | (rows);
  readNewest(); checkRows()
}

#define isLeased(n) ((lease & bit(n)) || readerAt == 2 && readerPin == (n))

/* s := every table that a reader may still read: of the newest manifest, or as long as a checkpoint on another one is to last. */
inline findNeeded() {
  s = named[newest];
  k = 1;
  do
  :: k < newest -> WHEN(isLeased(k), s = s | named[k]); k++
  :: else -> break
  od;
  k = 0
}

/* What nothing can ask for any more need not be told apart. */
inline forget() {
  k = 1;
  do
  :: k < newest ->
     WHEN(!isLeased(k) && !(pins & bit(k)) && readerPin != k && !(readerAt == 1 && readerBase == k), named[k] = 0);
     k++
  :: else -> break
  od;
  k = 0
}

/* What was edited is the next manifest. */
inline newManifest() {
  newest++;
  here = here | bit(newest);
  readNewest();
  named[newest] = s;
  checkRows();
  findNeeded();
  REQUIRE((s & ~stored) == 0, no_needed_table_deleted);
  forget()
}

/* ---- sources */

/* r := whether the sources are in the newest manifest as they should be (C2, P1, P4); s := their tables. */
inline findStretch(inL0, inRuns) {
  r = !((inL0) & ~l0 || (inRuns) & ~runs);
  s = inL0;
#ifndef CUT_ANYWHERE
  k = 0;
  do
  :: k < FLUSHES -> WHEN(((inL0) & bit(k)) && (l0 & ~(inL0) & (bit(k) - 1)), r = false); k++   /* an older one would stay */
  :: else -> break
  od;
#endif
  /* 0: before the first source, 1: among them, 2: after the last. */
  d = ((inL0) && (inRuns) -> 1 : 0);
  k = RUNS;
  do
  :: k > 0 ->
     if
     :: (inRuns) & bit(k) ->
        s = s | bit(runTable[k]);
#ifndef NOT_CONSECUTIVE
        WHEN(d == 2, r = false);
#endif
        d = 1
     :: !((inRuns) & bit(k)) && (runs & bit(k)) && d == 1 -> d = 2
     :: else
     fi;
     k--
  :: else -> break
  od;
  k = 0
}

/* v := what a merge of the tables s makes, tombstones included. */
inline merge() {
  v = 0; k = 0;
  do
  :: k < TABLES -> WHEN(s & bit(k), v = v | content[k]); k++
  :: else -> break
  od;
  WHEN(v & TOMB, v = v & ~1)
}

#define lowest(mask) ((mask) & ~((mask) - 1))
/* Runs that are older than the result. A new run is the newest. */
#define olderRuns(inRuns) ((inRuns) == 0 -> runs : runs & (lowest(inRuns) - 1))
#ifdef DROP_PLANNED
#define isBottom(inRuns) true
#else
#define isBottom(inRuns) (olderRuns(inRuns) == 0)
#endif

/* ---- the compactions file */

#define isActive(j) (status[j] != 0 && status[j] != FINISHED || (record & bit(j)))

/* The rules of the list (J1, J3). */
inline trim() {
  v = JOBS;               /* the oldest of the record */
  d = 0;                  /* 1 + the latest finished job */
  r = 0;                  /* 1 + the latest one that is older than all of the record */
  i = 0;
  do
  :: i < JOBS ->
     WHEN((record & bit(i)) && v == JOBS, v = i);
     if
     :: status[i] == FINISHED && (record & bit(i)) -> status[i] = 0   /* it stood in */
     :: status[i] == FINISHED && !(record & bit(i)) -> d = i + 1; WHEN(v == JOBS, r = i + 1)
     :: else
     fi;
     i++
  :: else -> break
  od;
  k = 0;                  /* 1: the list is not empty, and all in it is newer than v */
  i = 0;
  do
  :: i < JOBS ->
#ifdef FINISHED_FORGOTTEN
     WHEN(status[i] == FINISHED && i + 1 != d, status[i] = 0);
#else
     WHEN(status[i] == FINISHED && i + 1 != d && (i + 1 != r || v == JOBS), status[i] = 0);
#endif
     WHEN(status[i] != 0 && k == 0, k = (i > v -> 1 : 2));
     i++
  :: else -> break
  od;
#ifndef FINISHED_FORGOTTEN
  WHEN(v < JOBS && k == 1, status[v] = FINISHED);   /* it stands in the list until it ends */
#endif
  i = 0;
  do
  :: i < JOBS ->
     WHEN(status[i] == 0 && !(record & bit(i)), jobL0[i] = 0; jobRuns[i] = 0; jobInto[i] = 0; noted[i] = 0);
     i++
  :: else -> break
  od;
  k = 0
}

/* The record of what `me` writes: its own jobs that are not ended. */
inline setRecord() {
  record = 0; k = 0;
  do
  :: k < WORKS -> WHEN(phase[k] != IDLE && owner[k] == me && !foreign[k], record = record | bit(job[k])); k++
  :: else -> break
  od;
  k = 0
}

inline writeFile() { setRecord(); trim() }

#ifdef NO_EPOCH_IN_FILE
#define isOursInFile true
#else
#define isOursInFile (fileEpoch <= epoch[me])
#endif

/* ---- compactors. `me` is the one that takes the step. */

inline clearWork(w) {
  phase[w] = IDLE; owner[w] = 0; job[w] = 0; srcL0[w] = 0; srcRuns[w] = 0; srcTables[w] = 0; into[w] = 0; dropped[w] = false;
  output[w] = 0; slot[w] = 0; base[w] = 0;
  foreign[w] = false
}

/* The process stops, or is fenced; what it has sent may still arrive. */
inline over() {
  printf("compactor %d: ends\n", me);
  at[me] = OVER; epoch[me] = 0; manifestOf[me] = 0;
  k = 0;
  do
  :: k < WORKS -> WHEN(phase[k] != IDLE && phase[k] != SENT && owner[k] == me, clearWork(k)); k++
  :: else -> break
  od;
  k = 0
}

/* d := 1 + a free place for an attempt; 0: there is none. */
inline findFree() {
  d = 0; k = 0;
  do
  :: k < WORKS -> WHEN(phase[k] == IDLE && d == 0, d = k + 1); k++
  :: else -> break
  od;
  k = 0
}

/* Attempt w at job j on the newest manifest; s: the tables of its sources. */
inline plan(w, j) {
  phase[w] = MERGING; owner[w] = me; job[w] = j;
  srcL0[w] = jobL0[j]; srcRuns[w] = jobRuns[j]; srcTables[w] = s; into[w] = jobInto[j];
  merge();
  dropped[w] = (v & TOMB) && isBottom(jobRuns[j])
}

/* r := false if another job that the file names has a source, or tables of level 0 where this one has some (P3). */
inline findConflict(inL0, inRuns, but) {
  k = 0;
  do
  :: k < JOBS ->
     if
     :: k != but && isActive(k) ->
        WHEN(((inL0) & jobL0[k]) || ((inRuns) & (jobRuns[k] | bit(jobInto[k]))), r = false);
#ifndef SECOND_L0_JOB_PLANNED
        WHEN((inL0) && jobL0[k], r = false)
#endif
     :: else
     fi;
     k++
  :: else -> break
  od;
  k = 0
}

/* v := the id of a new run: above those of the manifest, and of the runs that listed and running jobs make (P6). */
inline findFreshRun() {
  v = 1; k = 1;
  do
  :: k <= RUNS -> WHEN(runs & bit(k), v = k + 1); k++
  :: else -> break
  od;
#ifndef FRESH_BY_MANIFEST
  k = 0;
  do
  :: k < JOBS -> WHEN(jobInto[k] >= v, v = jobInto[k] + 1); k++
  :: else -> break
  od;
#endif
#ifdef RUN_ID_REUSED
  WHEN(v > 1, v--)
#endif
}

/* A job of these sources begins, if it is valid. */
inline begin(inL0, inRuns) {
  findStretch(inL0, inRuns);
#if defined(SECOND_L0_JOB_PLANNED) || defined(ANYTHING_PLANNED)
  WHEN(!((inL0) & ~l0 || (inRuns) & ~runs), r = true);   /* not where they are, only whether they are there */
#endif
  findConflict(inL0, inRuns, JOBS);
  findFree();
  if
  :: r && d > 0 ->
     if
     :: (inRuns) == 0 -> findFreshRun()
     :: else -> v = 1; do :: !((inRuns) & bit(v)) -> v++ :: else -> break od
     fi;
     if
     :: v <= RUNS ->
        jobInto[nextJob] = v; jobL0[nextJob] = inL0; jobRuns[nextJob] = inRuns;
        printf("compactor %d: begins job %d: tables %d of level 0 and runs %d into run %d\n", me, nextJob, inL0, inRuns, v);
        plan(d - 1, nextJob);
        WHEN(VERSION == 2, status[nextJob] = RUNNING);   /* J2 */
        nextJob++;
        writeFile()
     :: else
     fi
  :: else
  fi
}

/* r := whether a job that waits has to be seen to before another one begins. */
inline findWaiting() {
  t = 0; i = 0;
  do
  :: i < JOBS ->
     if
     :: status[i] == COMPACTED && !(record & bit(i)) -> t = 1
     :: status[i] == SUBMITTED -> findStretch(jobL0[i], jobRuns[i]); WHEN(!r, t = 1)
     :: else
     fi;
     i++
  :: else -> break
  od;
  r = t
}

#ifdef UNKNOWN_IS_FAILED
#define FORGOTTEN(k) foreign[k]
#else
#define FORGOTTEN(k) false
#endif
/* d := how many jobs `me` has; r := false if it has anything else to do first. */
inline findBusy() {
  d = 0; k = 0;
  do
  :: k < WORKS ->
     WHEN(phase[k] != IDLE && owner[k] == me, d++; WHEN(phase[k] >= NOTED && !FORGOTTEN(k), r = false));
     k++
  :: else -> break
  od;
  k = 0
}

/* A job of the file that waits: it is begun again, its stored output taken to be committed, or it is ended. */
inline takeWaiting(j) {
  findFree();
  i = d;
  findStretch(jobL0[j], jobRuns[j]);
#ifdef NO_REVALIDATION
  WHEN(status[j] == COMPACTED, r = true);
#endif
  if
  :: i == 0
  :: i > 0 && status[j] == COMPACTED && r ->
     plan(i - 1, j);
     phase[i - 1] = NOTED; dropped[i - 1] = false; output[i - 1] = noted[j];
     foreign[i - 1] = true;
     printf("compactor %d: takes the stored output of job %d\n", me, j)
  :: i > 0 && status[j] == SUBMITTED && r ->
     findConflict(jobL0[j], jobRuns[j], j);
     if
     :: r -> plan(i - 1, j); status[j] = RUNNING; printf("compactor %d: begins job %d again\n", me, j); writeFile()
     :: else
     fi
  :: else ->
     printf("compactor %d: ends job %d, whose sources are gone\n", me, j);
     /* Its output stays in the list if it was committed before. */
     WHEN(!(runs & bit(jobInto[j])) || runTable[jobInto[j]] + 1 != noted[j], noted[j] = 0);
     status[j] = FINISHED; writeFile()
  fi
}

/* The file as `me` takes it over. */
inline takeOver() {
  fileEpoch = epoch[me];
  i = 0;
  do
  :: i < JOBS -> WHEN(status[i] == RUNNING && (record & bit(i)), status[i] = SUBMITTED); i++
  :: else -> break
  od;
  record = 0;
  trim()
}

inline claimManifest() {
  epoch[me] = (newestEpoch > epoch[me] -> newestEpoch : epoch[me]) + 1;
  newestEpoch = epoch[me];
  newManifest();
  manifestOf[me] = newest;
  printf("compactor %d: claims epoch %d with manifest %d\n", me, epoch[me], newest)
}

/* -- the commit */

/* r := whether the newest manifest may get the result of attempt w. */
inline findBroken(w) {
  findStretch(srcL0[w], srcRuns[w]);
#ifdef NO_REVALIDATION
  r = true;
#else
  WHEN(s != srcTables[w], r = false);
#endif
#ifdef ANYTHING_COMMITTED
  WHEN(!(srcL0[w] & ~l0 || srcRuns[w] & ~runs) && s == srcTables[w], r = true);
#endif
#ifndef NO_DESTINATION_CHECK
  WHEN(!(srcRuns[w] & bit(into[w])) && (runs >> into[w]), r = false);   /* C3, C8 */
#endif
#ifndef NO_BOTTOM_CHECK
  WHEN(dropped[w] && olderRuns(srcRuns[w]), r = false)   /* C5 */
#endif
}

/* The result in place of the sources, and a checkpoint on the manifest before. */
inline edit(w) {
  REQUIRE(!(runs & bit(into[w])) || (srcRuns[w] & bit(into[w])), no_run_overwritten);
  l0 = l0 & ~srcL0[w];
  k = 0;
  do
  :: k < FLUSHES -> WHEN((srcL0[w] & bit(k)) && k + 1 > marker, marker = k + 1); k++
  :: else -> break
  od;
  k = 1;
  do
  :: k <= RUNS -> WHEN(srcRuns[w] & bit(k), runTable[k] = 0); k++
  :: else -> break
  od;
  runs = runs & ~srcRuns[w];
  WHEN(content[output[w] - 1] != 0, runs = runs | bit(into[w]); runTable[into[w]] = output[w] - 1);   /* C7 */
  lease = lease | bit(newest);
#ifndef NO_CHECKPOINT
  pins = pins | bit(newest);
#endif
  base[w] = newest
}

/* The store carries out the PUT of attempt w: r := APPLIED, REFUSED; ENDED: it would not have been sent. */
inline carryOut(w) {
  if
  :: slot[w] == newest + 1 ->
     findBroken(w);
     if
     :: r ->
        printf("store: manifest %d has the result of job %d, by compactor %d\n", slot[w], job[w], owner[w]);
        edit(w); newManifest(); r = APPLIED
     :: else -> r = ENDED
     fi
  :: slot[w] <= newest && (here & bit(slot[w])) -> r = REFUSED
  :: slot[w] <= newest && !(here & bit(slot[w])) ->
     printf("store: manifest %d, which was collected, is written for job %d\n", slot[w], job[w]);
     here = here | bit(slot[w]);
     r = APPLIED
  fi
}

#ifdef NO_BOUNDARY_AT_COMMIT
#define isCollected(n) false
#else
#define isCollected(n) ((n) <= boundary)
#endif

inline send(w) {
  phase[w] = SENT; slot[w] = manifestOf[me] + 1;
  printf("compactor %d: sends manifest %d with the result of job %d\n", me, slot[w], job[w])
}

inline decided(w) { phase[w] = ENDED; slot[w] = 0 }

/* On top of the newest manifest, unless that has the checkpoint of this commit. */
inline again(w) {
#ifdef EPOCH_NOT_COMPARED_AGAIN
  if
  :: false
#else
  if
  :: newestEpoch > epoch[me] -> over()
#endif
  :: else ->
     manifestOf[me] = newest;
     if
     :: base[w] != 0 && (pins & bit(base[w])) -> decided(w)
     :: else ->
        findBroken(w);
        if
        :: r && newest < MANIFESTS -> send(w)
        :: r && newest == MANIFESTS -> over()
        :: else -> printf("compactor %d: gives up job %d\n", me, job[w]); decided(w)
        fi
     fi
  fi
}

#if VERSION == 1
#define READY STORED
#else
#define READY NOTED
#endif
#define isAlive(w) (at[owner[w]] == HOLDS)
#define isSending(w) (phase[w] >= SENT && phase[w] <= REFUSED)
/* One manifest of a compactor is under way at a time. */
#if WORKS == 2
#define maySend(w) (!(isSending(1 - (w)) && owner[1 - (w)] == owner[w]))
#elif WORKS == 3
#define maySend(w) (!(isSending(((w) + 1) % 3) && owner[((w) + 1) % 3] == owner[w]) && \
  !(isSending(((w) + 2) % 3) && owner[((w) + 2) % 3] == owner[w]))
#endif

#ifdef NAMED_BEFORE_JOB
#define nameFor(w) job[w]
#else
#define nameFor(w) (job[w] + 1)
#endif

inline attempt(w) {
  if
  :: d_step { phase[w] == MERGING && isAlive(w) && outputs < MOST_OUTPUTS ->
       me = owner[w];
       s = srcTables[w]; merge();
       WHEN(dropped[w], v = v & ~TOMB);
       content[OUTPUTS + outputs] = v; nameOf[OUTPUTS + outputs] = nameFor(w);
       stored = stored | bit(OUTPUTS + outputs);
       outputs++; output[w] = OUTPUTS + outputs;
       printf("compactor %d: stores table %d of job %d, rows %d\n", me, output[w] - 1, job[w], v);
       phase[w] = STORED; done() }
  :: d_step { phase[w] == MERGING && isAlive(w) ->
       me = owner[w];
       printf("compactor %d: fails at job %d\n", me, job[w]);
       phase[w] = ENDED; done() }

#if VERSION == 2
  :: d_step { phase[w] == STORED && isAlive(w) ->
       me = owner[w];
       if
       :: isOursInFile ->
          printf("compactor %d: notes the output of job %d\n", me, job[w]);
          phase[w] = NOTED; status[job[w]] = COMPACTED; noted[job[w]] = output[w];
          writeFile()
       :: else -> over()
       fi; done() }
#endif

  :: d_step { phase[w] == READY && isAlive(w) && newest < MANIFESTS && maySend(w) ->
       me = owner[w]; send(w); done() }
  :: d_step { phase[w] == SENT ->
       carryOut(w); phase[w] = r;
       WHEN(!isAlive(w), clearWork(w)); done() }
  :: d_step { LOSSES && phase[w] == SENT && isAlive(w) ->
       carryOut(w); phase[w] = r;
       WHEN(r == APPLIED, phase[w] = UNKNOWN; printf("network: the answer to compactor %d is lost\n", owner[w])); done() }
#ifdef DATED_WHEN_MADE
  :: d_step { phase[w] == SENT ->
       printf("network: the PUT of compactor %d arrives after its checkpoint has expired\n", owner[w]);
       carryOut(w); phase[w] = r;
       WHEN(r == APPLIED && base[w] != 0, early = early | bit(base[w]));
       WHEN(!isAlive(w), clearWork(w)); done() }
#endif
  /* Sent again. What is there is ours, or the id was emptied. */
  :: d_step { phase[w] == UNKNOWN && isAlive(w) ->
       here = here | bit(slot[w]); phase[w] = APPLIED; done() }
#ifdef UNKNOWN_IS_FAILED
  :: d_step { phase[w] == SENT && isAlive(w) && !foreign[w] ->
       me = owner[w];
       printf("compactor %d: has no answer for job %d and notes it as failed\n", me, job[w]);
       foreign[w] = true; status[job[w]] = FINISHED; noted[job[w]] = 0;
       writeFile(); done() }
#endif
  :: d_step { phase[w] == APPLIED && isAlive(w) ->
       me = owner[w];
       if
       :: isCollected(slot[w]) -> again(w)
       :: else ->
          REQUIRE(base[w] != 0, what_was_committed_counts);
          WHEN(slot[w] > manifestOf[me], manifestOf[me] = slot[w]);
          decided(w)
       fi; done() }
  :: d_step { phase[w] == REFUSED && isAlive(w) -> me = owner[w]; again(w); done() }
  :: d_step { phase[w] == ENDED && isAlive(w) ->
       me = owner[w];
       if
       :: isOursInFile ->
          printf("compactor %d: notes the end of job %d\n", me, job[w]);
          status[job[w]] = FINISHED;
          noted[job[w]] = (base[w] != 0 -> output[w] : 0);
          clearWork(w);
          writeFile()
       :: else -> over()
       fi; done() }
  fi
}

inline compactor(c) {
  if
  /* -- the claim */
  :: d_step { at[c] == AWAY && (c < 2 || at[c - 1] != AWAY) -> me = c;
       at[c] = SAW_FILE; epoch[c] = fileEpoch; done() }
#ifdef CLAIM_FILE_FIRST
  :: d_step { at[c] == SAW_FILE -> me = c;
       epoch[c] = (newestEpoch > epoch[c] -> newestEpoch : epoch[c]) + 1;
       printf("compactor %d: claims the file\n", c);
       if :: fileEpoch >= epoch[c] -> over() :: else -> takeOver(); at[c] = CLAIMED fi; done() }
  :: d_step { at[c] == CLAIMED && newest < MANIFESTS -> me = c;
       if :: newestEpoch >= epoch[c] -> over() :: else -> epoch[c] = epoch[c] - 1; claimManifest(); at[c] = HOLDS fi; done() }
#elif defined(CLAIM_FILE_ONLY)
  :: d_step { at[c] == SAW_FILE -> me = c;
       epoch[c]++; manifestOf[c] = newest;
       printf("compactor %d: claims the file\n", c);
       if :: fileEpoch >= epoch[c] -> over() :: else -> takeOver(); at[c] = HOLDS fi; done() }
#else
  :: d_step { at[c] == SAW_FILE && newest < MANIFESTS -> me = c;
       claimManifest(); at[c] = CLAIMED; done() }
  :: d_step { at[c] == CLAIMED -> me = c;
       printf("compactor %d: claims the file\n", c);
#ifndef NO_EPOCH_AT_FILE_CLAIM
       if
       :: fileEpoch >= epoch[c] -> over()
       :: else -> takeOver(); at[c] = HOLDS
       fi
#else
       takeOver(); at[c] = HOLDS
#endif
       ; done()
     }
#endif

  /* -- jobs */
#define isTakenBy(w, j) (phase[w] != IDLE && owner[w] == c && job[w] == j)
#if WORKS == 2
#define isTaken(j) (isTakenBy(0, j) || isTakenBy(1, j))
#else
#define isTaken(j) (isTakenBy(0, j) || isTakenBy(1, j) || isTakenBy(2, j))
#endif
#define WAITING(j) \
  :: d_step { at[c] == HOLDS && (status[j] == SUBMITTED || status[j] == COMPACTED) && !isTaken(j) -> me = c; \
       if :: isOursInFile -> takeWaiting(j) :: else -> over() fi; done() }
  WAITING(0)
#if JOBS > 1
  WAITING(1)
#endif
#if JOBS > 2
  WAITING(2)
#endif
#define PICK_L0(mask) :: ((mask) & ~l0) == 0 -> pickL0 = mask
#define PICK_RUNS(mask) :: ((mask) & ~runs) == 0 -> pickRuns = mask
  :: atomic { at[c] == HOLDS && nextJob < JOBS ->
       if
       :: pickL0 = 0
       PICK_L0(1)
#if FLUSHES > 1
       PICK_L0(2)
       PICK_L0(3)
#endif
#if FLUSHES > 2
       PICK_L0(4)
       PICK_L0(5)
       PICK_L0(6)
       PICK_L0(7)
#endif
       fi;
       if
       :: pickRuns = 0
       PICK_RUNS(2)
       PICK_RUNS(4)
       PICK_RUNS(6)
#if RUNS > 2
       PICK_RUNS(8)
       PICK_RUNS(10)
       PICK_RUNS(12)
       PICK_RUNS(14)
#endif
#if RUNS > 3
       PICK_RUNS(16)
       PICK_RUNS(24)
       PICK_RUNS(28)
       PICK_RUNS(30)
#endif
       fi;
       d_step {
         me = c;
         r = true;
         findBusy();
         i = r;
         if
         :: pickL0 == 0 && pickRuns == 0
         :: else ->
            if
            :: i && d < SLOTS ->
#ifndef BEGINS_BEFORE_WAITING
               findWaiting();
#else
               r = false;
#endif
               if
               :: !r && isOursInFile -> begin(pickL0, pickRuns)
               :: !isOursInFile -> over()
               :: else
               fi
            :: else
            fi
         fi;
         pickL0 = 0; pickRuns = 0; done() } }

  :: d_step { at[c] == HOLDS || at[c] == CLAIMED -> me = c; over(); done() }
  fi
}

/* ---- the writer flushes */

inline writerEdits() { l0 = l0 | bit(flushedTo); flushedTo++; newManifest() }

#define flushing (writerTable - 1)
byte writerTable;         /* 1 + the table that is to be named */

inline flushed() {
  acknowledge(rowsOf(flushing)); writerAt = 0; writerTable = 0
}

inline writer() {
  if
  :: d_step { writerAt == 0 && flushedTo < FLUSHES && newest < MANIFESTS ->
       printf("writer: stores table %d\n", flushedTo);
       stored = stored | bit(flushedTo); writerTable = flushedTo + 1; writerAt = 1; done() }
  :: d_step { writerAt == 1 && writerBase == newest && newest < MANIFESTS ->
       printf("writer: manifest %d has table %d\n", newest + 1, flushing);
       writerEdits(); writerBase = newest; flushed(); done() }
  :: d_step { LOSSES && writerAt == 1 && writerBase == newest && newest < MANIFESTS ->
       printf("writer: manifest %d has table %d, without an answer\n", newest + 1, flushing);
       writerEdits(); writerAt = 2; done() }
  :: d_step { writerAt == 1 && writerBase < newest && (here & bit(writerBase + 1)) -> writerBase = newest; done() }
  :: d_step { writerAt == 1 && writerBase < newest && !(here & bit(writerBase + 1)) ->
       printf("writer: manifest %d, which was collected, is written with table %d\n", writerBase + 1, flushing);
       here = here | bit(writerBase + 1);
       if
       :: isCollected(writerBase + 1) -> writerBase = newest
       :: else -> flushed()
       fi; done() }
  :: d_step { writerAt == 2 ->
       here = here | bit(writerBase + 1);
       if
       :: isCollected(writerBase + 1) -> writerBase = newest; flushed()   /* it finds its rows there (lastL0Seq) */
       :: else -> writerBase++; flushed()
       fi; done() }
  fi
}

/* ---- the collector */

/* The oldest job that the file names, and the outputs that it names. */
inline lookAtJobs(g) {
  i = 0;
  do
  :: i < JOBS ->
     WHEN(status[i] != 0 && mark[g] == 0, mark[g] = i + 1);
     WHEN(noted[i] != 0, spared[g] = spared[g] | bit(noted[i] - 1));
     i++
  :: else -> break
  od;
  k = 0
}

#define hasExpired ((pins & expired) || (readerAt == 3 && readerPin != 0))
#ifdef EXPIRED_IS_GONE
#define mustDrop false
#define pinned (pins & ~expired)
#else
#define mustDrop hasExpired
#define pinned pins
#endif

inline rest(g) {
  collectorAt[g] = 0; mark[g] = 0; spared[g] = 0; cut[g] = 0; goes[g] = 0; goesManifests[g] = 0; sawNewest[g] = 0; sawBoundary[g] = 0
}

/* What the newest manifest and the checkpoints in it need. One that has expired is dropped, and the round begins again. */
inline lookAtManifests(g) {
  if
  :: mustDrop ->
     WHEN(collectorAt[g] < LISTED,
       printf("collector %d: drops checkpoints that have expired\n", g);
       pins = pins & ~expired;
       WHEN(readerAt == 3, readerPin = 0);
       newManifest());
     rest(g)
  :: else ->
     t = pinned | bit(newest);
     WHEN(readerPin != 0, t = t | bit(readerPin));
     k = 1;
     do
     :: k <= newest -> WHEN(t & bit(k), spared[g] = spared[g] | named[k]); k++
     :: else -> break
     od;
     cut[g] = marker; k = 0;
     do
     :: k < FLUSHES -> WHEN(l0 & bit(k), cut[g] = k + 1); k++
     :: else -> break
     od;
     if
     :: collectorAt[g] < LISTED -> goesManifests[g] = here & ~t & (bit(newest) - 1); sawNewest[g] = newest
     :: else -> goesManifests[g] = goesManifests[g] & ~t
     fi
  fi
}

/* v := the greatest manifest that goes; 0: none does. */
inline findGreatest(g) {
  v = 0; k = 1;
  do
  :: k <= MANIFESTS -> WHEN(goesManifests[g] & bit(k), v = k); k++
  :: else -> break
  od;
#ifdef BOUNDARY_TO_NEWEST
  WHEN(v != 0, v = newest)
#endif
}

/* s := the tables that may go, of those that are listed. */
inline findGoing(g) {
  s = 0; k = 0;
  do
  :: k < TABLES ->
#ifdef BY_AGE_ONLY
     WHEN((stored & bit(k)) && !(spared[g] & bit(k)), s = s | bit(k));
#else
     if
     :: !(stored & bit(k)) || (spared[g] & bit(k)) || mark[g] == 0
#ifndef NO_L0_CUTOFF
     :: k < FLUSHES && k + 1 >= cut[g]
#endif
#ifndef NO_WATERMARK
     :: k >= OUTPUTS && nameOf[k] >= mark[g]
#endif
     :: else -> s = s | bit(k)
     fi;
#endif
     k++
  :: else -> break
  od;
  k = 0
}

inline deleteAll(g) {
  findNeeded();
  REQUIRE((s & goes[g]) == 0, no_needed_table_deleted);
  k = 1;
  do
  :: k <= newest -> REQUIRE(!(goesManifests[g] & bit(k)) || k != newest && !isLeased(k), no_needed_manifest_deleted); k++
  :: else -> break
  od;
  /* What may still be named. */
  REQUIRE(writerTable == 0 || !(goes[g] & bit(flushing)), no_table_of_a_job_deleted);
  i = 0;
  do
  :: i < WORKS ->
     if
     :: phase[i] >= STORED && phase[i] <= REFUSED && base[i] == 0 && (goes[g] & bit(output[i] - 1)) ->
        REQUIRE(!(isAlive(i) && newestEpoch <= epoch[owner[i]]), no_table_of_a_job_deleted);
        REQUIRE(!(phase[i] == SENT && slot[i] == newest + 1), no_table_of_a_job_deleted)
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < JOBS ->
     if
     :: status[i] == COMPACTED && (goes[g] & bit(noted[i] - 1)) ->
        findStretch(jobL0[i], jobRuns[i]);
        REQUIRE(!r, no_table_of_a_job_deleted)
     :: else
     fi;
     i++
  :: else -> break
  od;
  stored = stored & ~goes[g];
  here = here & ~goesManifests[g]
}

inline collector(g) {
  if
#ifdef MANIFEST_FIRST
#define LOOK_FIRST lookAtManifests(g)
#define LOOK_NEXT lookAtJobs(g)
#else
#define LOOK_FIRST lookAtJobs(g)
#define LOOK_NEXT lookAtManifests(g)
#endif
  :: d_step { (collectorAt[g] == 0 || collectorAt[g] == RAISED) && (!mustDrop || newest < MANIFESTS) ->
       mark[g] = 0; spared[g] = 0; cut[g] = 0; collectorAt[g]++;
       LOOK_FIRST; done() }
  :: d_step { (collectorAt[g] == READ_JOBS || collectorAt[g] == JOBS_AGAIN) && (!mustDrop || newest < MANIFESTS) ->
       collectorAt[g]++;
       LOOK_NEXT; done() }
  :: d_step { collectorAt[g] == READ_MANIFEST ->
       findGoing(g); goes[g] = s; mark[g] = 0; spared[g] = 0; cut[g] = 0;
       if
       :: goes[g] == 0 && goesManifests[g] == 0 -> rest(g)
       :: else ->
          printf("collector %d: may delete tables %d and manifests %d\n", g, goes[g], goesManifests[g]);
          collectorAt[g] = LISTED
       fi; done() }

  /* Its process ends; another one begins a round. */
  :: d_step { CUT_OFF && collectorAt[g] != 0 -> printf("collector %d: ends\n", g); rest(g); done() }

  /* -- the boundary */
  :: d_step { collectorAt[g] == LISTED ->
       findGreatest(g);
#if defined(BOUNDARY_NOT_RAISED) || defined(BOUNDARY_AFTER)
       v = 0;
#endif
#ifdef TOO_HIGH_AT_FIRST
       REQUIRE(v == 0 || boundary < sawNewest[g], no_sound_database_called_damaged);
#endif
       sawNewest[g] = 0;
       if
#if COLLECTORS == 1
       :: v > boundary ->
          printf("collector %d: raises the boundary to %d\n", g, v);
          boundary = v; collectorAt[g] = BOUNDARY_DONE;
          REQUIRE(boundary < newest, no_sound_database_called_damaged)
#else
       :: v > boundary -> sawBoundary[g] = boundary; collectorAt[g] = AT_BOUNDARY
#endif
       :: else -> collectorAt[g] = BOUNDARY_DONE
       fi; done() }
  :: d_step { collectorAt[g] == AT_BOUNDARY ->
       findGreatest(g);
       if
#ifndef NO_IF_MATCH
       :: boundary != sawBoundary[g] -> sawBoundary[g] = boundary; WHEN(boundary >= v, collectorAt[g] = BOUNDARY_DONE)
#endif
       :: else ->
          printf("collector %d: raises the boundary to %d\n", g, v);
          boundary = v; sawBoundary[g] = 0; collectorAt[g] = BOUNDARY_DONE;
          REQUIRE(boundary < newest, no_sound_database_called_damaged)
       fi; done() }

  /* -- the second look has decided */
  :: d_step { collectorAt[g] == SURE ->
#ifndef NO_SECOND_OBSERVATION
       findGoing(g); goes[g] = goes[g] & s;
#endif
       deleteAll(g);
#ifdef BOUNDARY_AFTER
       collectorAt[g] = AFTER; done() }
  :: d_step { collectorAt[g] == AFTER ->
       findGreatest(g); WHEN(v > boundary, boundary = v);
       rest(g); done() }
#else
       rest(g) }
#endif
  fi
}

/* ---- a reader that makes a checkpoint */

inline reader() {
  if
  :: d_step { readerAt == 0 -> readerAt = 1; readerBase = newest; done() }
  :: d_step { readerAt == 1 && newest < MANIFESTS ->
       if
       :: readerBase == newest ->
          printf("reader: manifest %d has a checkpoint on %d\n", newest + 1, readerBase);
          readerPin = readerBase; readerAt = 2; readerBase = 0; newManifest()
       :: readerBase < newest && !(here & bit(readerBase + 1)) ->
          here = here | bit(readerBase + 1);
          REQUIRE(isCollected(readerBase + 1), what_was_committed_counts);
          readerBase = newest
       :: else ->
#ifdef CHECKPOINT_ON_OLDER
          printf("reader: manifest %d has a checkpoint on %d\n", newest + 1, readerBase);
          readerPin = readerBase; readerAt = 2; readerBase = 0; newManifest()
#else
          readerBase = newest
#endif
       fi; done() }
#define EXTEND(n) \
  :: d_step { readerAt == 0 && n < newest && (pins & bit(n)) && newest < MANIFESTS -> \
       printf("reader: manifest %d has another checkpoint on %d\n", newest + 1, n); \
       readerPin = n; readerAt = 2; newManifest(); done() }
  EXTEND(1)
  EXTEND(2)
  EXTEND(3)
  EXTEND(4)
  :: d_step { readerAt == 2 -> printf("reader: its checkpoint expires\n"); readerAt = 3; forget(); done() }
  fi
}

/* ---- time */

inline time() {
  if
#define EXPIRE(n) \
  :: d_step { n < newest && (lease & bit(n)) -> printf("time: the checkpoint on manifest %d expires\n", n); \
       lease = lease & ~bit(n); forget(); done() }
  EXPIRE(1)
  EXPIRE(2)
  EXPIRE(3)
  EXPIRE(4)
  EXPIRE(5)
  EXPIRE(6)
  fi
}

active proctype World() {
  d_step {
    /* Compactor 0 has claimed epoch 1. */
    newest = 1; newestEpoch = 1; fileEpoch = 1; here = bit(1);
    at[0] = HOLDS; epoch[0] = 1; manifestOf[0] = 1; writerBase = 1;
    i = 0;
    do
    :: i < FLUSHES ->
       content[i] = rowsOf(i);
       WHEN(i < FLUSHED, stored = stored | bit(i); l0 = l0 | bit(i); acked = acked | content[i]);
       i++
    :: else -> break
    od;
    flushedTo = FLUSHED;
    i = 0;
    do
    :: i < RUNS_AT_START ->
       content[FLUSHES + i] = bit((UPPER_IS_DELETED && i < 2 -> 1 - i : i)); stored = stored | bit(FLUSHES + i);
       runs = runs | bit(i + 1); runTable[i + 1] = FLUSHES + i; acked = acked | bit(i);
       i++
    :: else -> break
    od;
    WHEN(ENDED_AT_START, status[0] = FINISHED; nextJob = 1);
    readNewest(); named[1] = s; done()
  };
end:
  do
  :: attempt(0)
  :: attempt(1)
#if WORKS > 2
  :: attempt(2)
#endif
  :: compactor(0)
#if COMPACTORS > 1
  :: compactor(1)
#endif
#if COMPACTORS > 2
  :: compactor(2)
#endif
#if FLUSHES > FLUSHED
  :: writer()
#endif
#if COLLECTORS > 0
  :: collector(0)
#endif
#if COLLECTORS > 1
  :: collector(1)
#endif
#if READERS > 0
  :: reader()
#endif
  :: time()
  od
}
