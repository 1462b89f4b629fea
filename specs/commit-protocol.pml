/*
 * The commit protocol: how writers claim a database, fence one another, make rows durable and hand over, while requests get
 * lost, come late or come twice, and a collector deletes what is old. Checked exhaustively by `npm run spec`; README.md says
 * which step is which function of src/, what is left out, and how to read a counterexample.
 *
 * The store is consistent for each object and honours if-absent; everything else may happen in any order, and between any two
 * steps any time may pass.
 *
 * There is no clock. All that time does here is to relate two things: the collector deletes only objects older than its
 * minimum age, and a writer trusts what it saw at most FENCE_VALIDITY_MS ago, which is less. So what was seen at some moment
 * can be trusted only as long as nothing that was created after that moment has been deleted; and it may be too old for other
 * reasons at any time. A moment is noted as the next ids at that moment: ids are first used in ascending order.
 *
 * One step of a writer: take an answer, decide, send the next request. A read is carried out in the same step; a PUT is
 * carried out by the network, at any later time, or never.
 *
 * A macro given with -D takes one rule away; scripts/spec.mjs lists them and the property that each one breaks.
 */

#ifndef WRITERS
#define WRITERS 2      /* writer 0 serves from the start; each other one opens once, at any time */
#endif
#ifndef WRITES
#define WRITES 1       /* rows that one writer may write */
#endif
#ifndef FIRST_WRITES
#define FIRST_WRITES WRITES   /* of writer 0 */
#endif
#ifndef SECOND_WRITES
#define SECOND_WRITES WRITES  /* of writer 1 */
#endif
#ifndef THIRD_WRITES
#define THIRD_WRITES WRITES   /* of writer 2 */
#endif
#define mayWrite(p) \
  (p == 0 && wrote[p] < FIRST_WRITES || p == 1 && wrote[p] < SECOND_WRITES || p == 2 && wrote[p] < THIRD_WRITES)
#ifndef COMMITTERS
#define COMMITTERS 0   /* the first writer that may commit */
#endif
#ifndef LOSSES
#define LOSSES true    /* whether answers get lost */
#endif
#ifndef MANIFESTS
#define MANIFESTS 5    /* greatest manifest id */
#endif
#ifndef SLOTS
#define SLOTS 5        /* greatest WAL id */
#endif
#ifndef COPIES
#define COPIES 1       /* PUTs that the network may double or keep for later */
#endif
#ifndef TOUCHES
#define TOUCHES 0      /* manifests that other roles (readers, a compactor, a collector) may write */
#endif

/* ---- properties */

#define no_acknowledged_write_lost 1
#define no_acknowledgement_others_miss 2
#define no_lone_writer_fenced 3
#define nothing_applied_twice 4
#define takeover_sees_all_acknowledged 5
#define flushed_is_in_newest_manifest 6
#define no_sound_log_called_damaged 7
#define owner_sees_its_predecessors 8

#define REQUIRE(condition, property) \
  if \
  :: (condition) \
  :: else -> printf("BROKEN: property %d\n", property); assert(false) \
  fi

/* ---- the store */

/* Manifests by id: 0 (nothing) or BY(author). Only what the newest one says is ever read. What is made again in a collected
   id may be deleted at once, by a collector that stalled. */
byte manifest[MANIFESTS + 1];
#define BY(p) (1 + (p))
byte newest;              /* the greatest id, ever and in a LIST: the newest manifest is never deleted */
byte newestEpoch;
byte newestReplay;        /* replay_after_wal_id */
byte newestTables;        /* rows in tables: a set, one bit each */
byte deletedManifest;     /* the greatest id deleted */
#ifdef BOUNDARY
byte boundary;
#endif

/* The log by id: 0 (nothing), FENCE(p) or ROW(w). */
byte wal[SLOTS + 1];
byte newestWal;           /* the greatest id ever */
byte deletedWal;
#define FENCE(p) (1 + (p))
#define ROW(w) (1 + WRITERS + (w))
#define isRow(content) ((content) > WRITERS)
#define bitOf(content) (1 << ((content) - 1 - WRITERS))
#define rowsOf(p) (((1 << WRITES) - 1) << ((p) * WRITES))

/* ---- requests */

#define MANIFEST 1
#define WAL 2
#define OTHERS WRITERS   /* author of what other roles write */

typedef Put {
  byte kind; byte id; byte author;
  byte content;                           /* WAL */
  byte epoch; byte replay; byte tables    /* MANIFEST */
};
Put put[WRITERS];        /* bound to its bytes until it is known what became of it */
Put late;                /* a copy on its way, whatever its sender has been told meanwhile */
byte copies;

#define SENT 1           /* and sent again, as long as no answer comes */
#define NOW 2            /* applied by this attempt */
#define EARLIER 3        /* applied by an earlier one, as the put id shows */
#define REFUSED 4
byte answer[WRITERS];
#if defined(PROOF_ONLY_IN_DOUBT) || defined(SETTLED_COMMIT_COUNTS)
#define NOTES_DOUBT
#endif
bool resumed[WRITERS];   /* an attempt had no answer; no rule asks for it */

/* ---- what each writer knows */

#define CLOSED 0
#define READ_LOG 1
#define CLAIM 2
#define FENCE_SENT 3
#define SERVE 4
#define ROWS_SENT 5
#define CONFIRM 6
#define COMMIT_SENT 7
#define OVER 8
byte at[WRITERS];

byte epoch[WRITERS];
byte base[WRITERS];        /* manifest in use, and what it says */
byte baseReplay[WRITERS];
byte baseTables[WRITERS];
byte mem[WRITERS];         /* rows in memtables */
byte lastWal[WRITERS];     /* last WAL id known to be durable; in an opening, the end of the log */
bool hasListed[WRITERS];   /* a LIST was sent beside the PUT */
byte slot[WRITERS];        /* id of the fence under way */
byte wrote[WRITERS];
byte unacked[WRITERS];     /* without a log: rows that wait for a commit */

/* Moments; LONG_AGO where nothing depends on them. */
#define LONG_AGO 0
#define present ((newestWal + 1) * 16 + newest + 1)
#ifdef MONOTONIC_ONLY
#define isRecent(moment) true   /* the only clock stands still while the machine is suspended */
#else
#define isRecent(moment) (deletedWal < (moment) / 16 && deletedManifest < (moment) % 16)
#endif
byte epochAt[WRITERS];     /* the last confirmation of the epoch; in an opening, its first LIST */
byte baseAt[WRITERS];      /* the LIST that showed `base` */
byte putAt[WRITERS];       /* the first sending of the PUT under way */
byte listAt[WRITERS];      /* the sending of the LIST under way */

byte acked;                /* rows acknowledged by anyone */
byte ackedUnder[WRITERS];  /* the epoch under which each writer acknowledged its rows; nothing if it has not */
byte touches;

byte v, i, k, r;           /* within one step */

#define isServing(p) (at[p] >= SERVE && at[p] != OVER)
#define knows(p) (mem[p] | baseTables[p])

/* v := the rows that an opening would find now. */
inline findVisible() {
  v = newestTables;
  i = newestReplay + 1;
  do
  :: i <= SLOTS && wal[i] != 0 ->
     if
     :: isRow(wal[i]) ->
        REQUIRE((v & bitOf(wal[i])) == 0, nothing_applied_twice);
        v = v | bitOf(wal[i])
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

inline checkStore() {
  findVisible();
  REQUIRE((acked & ~v) == 0, no_acknowledged_write_lost);
  v = 0
}

/* Writer p tells its callers that `rows` are durable. */
inline acknowledge(rows) {
  printf("writer %d: acknowledges rows %d\n", p, rows);
  acked = acked | (rows); ackedUnder[p] = epoch[p];
  findVisible();
  REQUIRE(((rows) & ~v) == 0, no_acknowledgement_others_miss);
  v = 0;
  k = 0;
  do
  :: k < WRITERS ->
     REQUIRE(!isServing(k) || epoch[k] < newestEpoch || ((rows) & ~knows(k)) == 0, no_acknowledgement_others_miss);
     REQUIRE(!isServing(k) || epoch[k] <= epoch[p] || ((rows) & ~knows(k)) == 0, owner_sees_its_predecessors);
     k++
  :: else -> break
  od;
  k = 0
}

/* The store carries out q; r := NOW or REFUSED. */
inline carryOut(q) {
  if
  :: q.kind == MANIFEST && manifest[q.id] != 0 || q.kind == WAL && wal[q.id] != 0 -> r = REFUSED
  :: q.kind == MANIFEST && manifest[q.id] == 0 ->
     manifest[q.id] = BY(q.author);
     if
     :: q.id > newest -> newest = q.id; newestEpoch = q.epoch; newestReplay = q.replay; newestTables = q.tables
     :: else -> printf("store: (in a collected id)\n")
     fi;
     r = NOW
  :: q.kind == WAL && wal[q.id] == 0 ->
     wal[q.id] = q.content;
     if
     :: q.id > newestWal -> newestWal = q.id
     :: else -> printf("store: (in a collected id)\n")
     fi;
     r = NOW
  fi;
  if
  :: q.kind == MANIFEST && r == NOW ->
     printf("store: manifest %d is now writer %d's, epoch %d, replay after %d, rows %d\n", q.id, q.author, q.epoch, q.replay, q.tables)
  :: q.kind == WAL && r == NOW -> printf("store: wal %d is now writer %d's, content %d\n", q.id, q.author, q.content)
  :: else -> printf("store: refuses writer %d's put of id %d\n", q.author, q.id)
  fi;
  checkStore()
}

inline copyPut(to, from) {
  to.kind = from.kind; to.id = from.id; to.author = from.author; to.content = from.content;
  to.epoch = from.epoch; to.replay = from.replay; to.tables = from.tables
}

inline forget(q) {
  q.kind = 0; q.id = 0; q.author = 0; q.content = 0; q.epoch = 0; q.replay = 0; q.tables = 0
}

#define forgetIfOld(moment) \
  if \
  :: isRecent(moment) \
  :: else -> moment = LONG_AGO \
  fi

/* What can no longer be recent need not be told apart. */
inline forgetOldMoments() {
  k = 0;
  do
  :: k < WRITERS -> forgetIfOld(epochAt[k]); forgetIfOld(baseAt[k]); forgetIfOld(putAt[k]); forgetIfOld(listAt[k]); k++
  :: else -> break
  od;
  k = 0
}

#define atLeast(x, n) \
  if \
  :: x < n -> x = n \
  :: else \
  fi

/* ---- everything but the writers */

#ifdef NO_PUT_ID
#define isOurs(p) false
#elif defined(PROOF_ONLY_IN_DOUBT)
#define isOurs(p) (resumed[p] && hasOurs(p))
#else
#define isOurs(p) hasOurs(p)
#endif
#define hasOurs(p) (put[p].kind == MANIFEST && manifest[put[p].id] == BY(p) || put[p].kind == WAL && wal[put[p].id] == put[p].content)

/* A PUT of writer p is answered; is applied, but the answer is lost; is doubled, the copy on its way for any time. */
#define NETWORK(p) \
  :: d_step { answer[p] == SENT -> carryOut(put[p]); \
       if \
       :: r == REFUSED && isOurs(p) -> answer[p] = EARLIER \
       :: else -> answer[p] = r \
       fi; \
       r = 0 } \
  :: d_step { LOSSES && answer[p] == SENT && isFree(put[p]) -> printf("network: the answer to writer %d is lost\n", p); \
       carryOut(put[p]); r = 0; noteDoubt(p) } \
  :: d_step { answer[p] == SENT && copies < COPIES && late.kind == 0 -> printf("network: the PUT of writer %d is doubled\n", p); \
       copyPut(late, put[p]); copies++ }
#define isFree(q) (q.kind == MANIFEST && manifest[q.id] == 0 || q.kind == WAL && wal[q.id] == 0)
#ifdef NOTES_DOUBT
#define noteDoubt(p) resumed[p] = true
#else
#define noteDoubt(p) skip
#endif

/* What the newest manifest does not need, at any time; by default oldest first. */
#ifndef ANY_ORDER
#define ANY_ORDER false
#endif
#define COLLECT_WAL(n) \
  :: d_step { wal[n] != 0 && n < newestReplay && (ANY_ORDER || wal[n - 1] == 0) -> \
       printf("collector: deletes wal %d\n", n); \
       wal[n] = 0; atLeast(deletedWal, n); forgetOldMoments(); checkStore() }

#ifdef BOUNDARY
/* This collector announces which manifests it deletes, and then need not wait: nothing follows for the age of anything. */
#define noteDeletedManifest(n) atLeast(boundary, n)
#else
#define noteDeletedManifest(n) atLeast(deletedManifest, n); forgetOldMoments()
#endif
#define COLLECT_MANIFEST(n) \
  :: d_step { manifest[n] != 0 && n < newest && (ANY_ORDER || manifest[n - 1] == 0) -> \
       printf("collector: deletes manifest %d\n", n); \
       manifest[n] = 0; noteDeletedManifest(n) }

proctype World() {
end:
  do
  NETWORK(0)
#if WRITERS > 1
  NETWORK(1)
#endif
#if WRITERS > 2
  NETWORK(2)
#endif
  :: d_step { late.kind != 0 -> printf("network: the copy arrives\n"); carryOut(late); r = 0; forget(late) }
  COLLECT_WAL(1)
  COLLECT_WAL(2)
  COLLECT_WAL(3)
#if SLOTS > 4
  COLLECT_WAL(4)
#endif
#if SLOTS > 5
  COLLECT_WAL(5)
#endif
  COLLECT_MANIFEST(1)
  COLLECT_MANIFEST(2)
  COLLECT_MANIFEST(3)
#if MANIFESTS > 4
  COLLECT_MANIFEST(4)
#endif
#if MANIFESTS > 5
  COLLECT_MANIFEST(5)
#endif
#if MANIFESTS > 6
  COLLECT_MANIFEST(6)
#endif
#if TOUCHES > 0
  :: d_step { touches < TOUCHES && newest < MANIFESTS ->
       touches++;
       newest++; manifest[newest] = BY(OTHERS);
       printf("another role: writes manifest %d\n", newest) }
#endif
  od
}

/* ---- the writers */

inline sendManifest(asReplay, asTables) {
  put[p].kind = MANIFEST; put[p].id = base[p] + 1; put[p].author = p;
  put[p].epoch = epoch[p]; put[p].replay = asReplay; put[p].tables = asTables;
  answer[p] = SENT
}

inline sendWal(asId, asContent) {
  put[p].kind = WAL; put[p].id = asId; put[p].author = p; put[p].content = asContent;
  answer[p] = SENT
}

inline settled() {
  answer[p] = 0; resumed[p] = false; forget(put[p])
}

/* Takes the newest manifest into use, as a LIST and a GET show it. */
inline adopt() {
  base[p] = newest; baseReplay[p] = newestReplay; baseTables[p] = newestTables;
  mem[p] = mem[p] & ~newestTables;
  baseAt[p] = present
}

#ifdef LIST_KEEPS_BASE
#define adoptIfConfirming() baseAt[p] = present
#else
#define adoptIfConfirming() adopt()
#endif

/* Rows of the log from id `from` on; i := the first id that is missing. */
inline readLog(from) {
  i = from;
  do
  :: i <= SLOTS && wal[i] != 0 ->
     if
     :: isRow(wal[i]) -> mem[p] = mem[p] | bitOf(wal[i])
     :: else
     fi;
     i++
  :: else -> break
  od
}

/* The process stops; what it sent may still arrive. */
inline over() {
  printf("writer %d: ends\n", p);
  at[p] = OVER;
  if
  :: answer[p] == SENT   /* what was sent may still arrive */
  :: else -> settled()
  fi;
  epoch[p] = 0; base[p] = 0; baseReplay[p] = 0; baseTables[p] = 0; mem[p] = 0; lastWal[p] = 0; slot[p] = 0;
  wrote[p] = 0; unacked[p] = 0; resumed[p] = false; hasListed[p] = false;
  epochAt[p] = LONG_AGO; baseAt[p] = LONG_AGO; putAt[p] = LONG_AGO; listAt[p] = LONG_AGO
}

#define isOvertaken(p) (newestEpoch > epoch[p])

inline serve() {
  settled();
  at[p] = SERVE; lastWal[p] = slot[p]; slot[p] = 0;
  printf("writer %d: serves\n", p);
  REQUIRE(isOvertaken(p) || (acked & ~knows(p)) == 0, takeover_sees_all_acknowledged);
  k = 0;
  do
  :: k < WRITERS ->
     REQUIRE(ackedUnder[k] >= epoch[p] || (acked & rowsOf(k) & ~knows(p)) == 0, owner_sees_its_predecessors);
     k++
  :: else -> break
  od;
  k = 0
}

inline listReceived() {
#if defined(DATED_BY_RECEIPT)
  epochAt[p] = present
#else
  epochAt[p] = listAt[p]
#endif
}

/* The manifest just written is the newest; its rows leave the memory. */
inline inUse() {
  base[p] = put[p].id; baseTables[p] = put[p].tables; baseReplay[p] = put[p].replay; mem[p] = 0
}

#ifdef PROOF_CONFIRMS
#define CONFIRMS_EPOCH true
#else
#define CONFIRMS_EPOCH (answer[p] == NOW)
#endif
#define isApplied(p) (answer[p] == NOW || answer[p] == EARLIER)

/* What each rule asks. */
#ifdef NO_CLAIM_CHECK
#define CLAIM_MAY_COUNT true
#else
#define CLAIM_MAY_COUNT isRecent(baseAt[p])
#endif
#ifdef CLAIM_BY_EPOCH
#define IS_CLAIM_OUTDATED isOvertaken(p)
#else
#define IS_CLAIM_OUTDATED (newest != put[p].id)
#endif
#ifdef NO_FENCE_CHECK
#define FENCE_MAY_COUNT true
#else
#define FENCE_MAY_COUNT isRecent(epochAt[p])
#endif
#ifdef NO_CONFIRMATION
#define EPOCH_MAY_COUNT true
#else
#define EPOCH_MAY_COUNT isRecent(epochAt[p])
#endif
#ifdef CHECKED_AT_SENDING
#define ANSWER_MAY_COUNT true
#else
#define ANSWER_MAY_COUNT EPOCH_MAY_COUNT
#endif
#if defined(NO_COMMIT_LIST)
#define COMMIT_MAY_COUNT true
#elif defined(WAL_PUT_CONFIRMS_BASE)
#define COMMIT_MAY_COUNT isRecent(epochAt[p])
#elif defined(SETTLED_COMMIT_COUNTS)
#define COMMIT_MAY_COUNT (resumed[p] || isRecent(baseAt[p]))
#else
#define COMMIT_MAY_COUNT isRecent(baseAt[p])
#endif
#if defined(BOUNDARY) && !defined(NO_BOUNDARY_AT_CLAIM)
#define isBelowBoundaryAtClaim(n) (n <= boundary)
#else
#define isBelowBoundaryAtClaim(n) false
#endif
#if defined(BOUNDARY) && !defined(NO_BOUNDARY_AT_COMMIT)
#define isBelowBoundaryAtCommit(n) (n <= boundary)
#else
#define isBelowBoundaryAtCommit(n) false
#endif

/* Trips 1 and 2 of an opening. */
inline look() {
  settled(); mem[p] = 0; slot[p] = 0;
  adopt(); epoch[p] = newestEpoch + 1;
#ifdef FENCE_AGE_FROM_ROUND
  epochAt[p] = present;
#endif
  printf("writer %d: finds manifest %d\n", p, newest);
  at[p] = READ_LOG
}

/* Trip 6, and again at the next id where one is taken. */
inline sendFence(id) {
  settled();
  slot[p] = id;
  if
  :: slot[p] > SLOTS -> over()
  :: else ->
     sendWal(slot[p], FENCE(p));
     printf("writer %d: fences wal %d\n", p, slot[p]);
     at[p] = FENCE_SENT
  fi
}

inline claimCounts() {
  base[p] = put[p].id;
#ifdef CLAIM_CONFIRMS
  epochAt[p] = present;
#endif
#ifdef NO_FENCE
  slot[p] = lastWal[p]; serve()
#else
  sendFence(lastWal[p] + 1)
#endif
}

#ifdef PASSED_UNREAD
#define hasPassed(p) false
#else
#define hasPassed(p) (slot[p] > lastWal[p] + 1)
#endif

/* What an older writer has put before our fence meanwhile. */
inline readPassed() {
  readLog(lastWal[p] + 1);
  if
  :: i <= slot[p] ->
     printf("writer %d: misses wal %d, which it passed\n", p, i);
#ifdef PASSED_UNCHECKED
     REQUIRE(false, no_sound_log_called_damaged);
#else
     REQUIRE(isOvertaken(p), no_sound_log_called_damaged);
#endif
     over()
  :: else -> lastWal[p] = slot[p] - 1
  fi;
  i = 0
}

inline sendRowsAndList() {
  printf("writer %d: lists beside it\n", p);
  if
  :: isOvertaken(p) -> over()
  :: else -> listAt[p] = present; hasListed[p] = true; adoptIfConfirming(); at[p] = ROWS_SENT
  fi
}

inline commit() {
  settled();
  if
  :: base[p] == MANIFESTS -> over()
  :: else ->
     sendManifest(lastWal[p], baseTables[p] | mem[p]);
     printf("writer %d: commits manifest %d\n", p, base[p] + 1);
     at[p] = COMMIT_SENT
  fi
}

inline flushed() {
  settled();
  printf("writer %d: has flushed\n", p);
  REQUIRE((baseTables[p] & ~newestTables) == 0, flushed_is_in_newest_manifest);
  r = unacked[p]; unacked[p] = 0;
  if
  :: r != 0 -> acknowledge(r)
  :: else
  fi;
  r = 0;
#ifdef COMMIT_CONFIRMS
  epochAt[p] = present;
#endif
  at[p] = SERVE
}

#define hasToCommit(p) (mem[p] != 0 || lastWal[p] > baseReplay[p])

/* Whose is the newest manifest, and does it hold what was to be committed? If not, once more on top of it. */
inline listAndCommit() {
  if
  :: isOvertaken(p) -> over()
  :: else ->
     adopt(); epochAt[p] = present;
     if
     :: hasToCommit(p) -> commit()
     :: else -> flushed()
     fi
  fi
}

proctype Writer(byte p) {
end:
  do

  /* -- opening */

  :: d_step { at[p] == CLOSED && (p < 2 || at[p - 1] != CLOSED) ->   /* the openers are alike: the lower begins */
       printf("writer %d: opens\n", p);
       epochAt[p] = present; look() }

  :: d_step { at[p] == READ_LOG ->
       readLog(baseReplay[p] + 1);
       lastWal[p] = i - 1;
       do   /* anything behind the first id that is missing? */
       :: i <= SLOTS && wal[i] == 0 -> i++
       :: else -> break
       od;
       if
       :: i <= SLOTS ->
          printf("writer %d: misses wal %d\n", p, lastWal[p] + 1);
#ifdef NO_EVIDENCE_CHECK
          REQUIRE(false, no_sound_log_called_damaged);
#else
          REQUIRE(newest != base[p], no_sound_log_called_damaged);
#endif
          look()
       :: i > SLOTS && base[p] == MANIFESTS -> over()
       :: else ->
          sendManifest(baseReplay[p], baseTables[p]);
          printf("writer %d: claims epoch %d with manifest %d\n", p, epoch[p], base[p] + 1);
          at[p] = CLAIM
       fi;
       i = 0 }

  :: d_step { at[p] == CLAIM && answer[p] == REFUSED -> look() }
  :: d_step { at[p] == CLAIM && isApplied(p) && isBelowBoundaryAtClaim(put[p].id) -> look() }
  :: d_step { at[p] == CLAIM && isApplied(p) && !isBelowBoundaryAtClaim(put[p].id) && CLAIM_MAY_COUNT -> claimCounts() }
  :: d_step { at[p] == CLAIM && isApplied(p) && !isBelowBoundaryAtClaim(put[p].id) ->
       if
       :: IS_CLAIM_OUTDATED -> look()
       :: else ->
          baseAt[p] = present;
#ifdef FENCE_AGE_FROM_CLAIM
          epochAt[p] = present;
#endif
          claimCounts()
       fi }

  :: d_step { at[p] == FENCE_SENT && answer[p] == REFUSED ->
       if
#ifndef FENCES_NEWER
       :: isOvertaken(p) -> over()
#endif
#ifdef SAME_SLOT
       :: else -> sendFence(slot[p])
#else
       :: else -> sendFence(slot[p] + 1)
#endif
       fi }
  :: d_step { at[p] == FENCE_SENT && isApplied(p) && hasPassed(p) -> readPassed() }
  :: d_step { at[p] == FENCE_SENT && isApplied(p) && !hasPassed(p) && FENCE_MAY_COUNT -> serve() }
  :: d_step { at[p] == FENCE_SENT && isApplied(p) && !hasPassed(p) ->
       if
       :: isOvertaken(p) -> over()
       :: else -> epochAt[p] = present; serve()
       fi }

  /* -- rows into the log */

#ifndef WAL_OFF
  :: d_step { at[p] == SERVE && mayWrite(p) && lastWal[p] < SLOTS ->
       sendWal(lastWal[p] + 1, ROW(p * WRITES + wrote[p]));
       printf("writer %d: puts row %d into wal %d\n", p, 1 << (p * WRITES + wrote[p]), lastWal[p] + 1);
       wrote[p]++;
#ifdef ACK_EARLY
       acknowledge(bitOf(put[p].content));
#endif
       putAt[p] = present;
       if
       :: EPOCH_MAY_COUNT -> at[p] = ROWS_SENT
       :: else -> sendRowsAndList()
       fi }
#ifdef DATED_BY_LAST_SENDING
  :: d_step { at[p] == ROWS_SENT && answer[p] == SENT && EPOCH_MAY_COUNT && putAt[p] != present -> putAt[p] = present }
#endif
  /* Sent again; or sent for the first time by a writer that does not trust its confirmation. */
  :: d_step { at[p] == ROWS_SENT && answer[p] == SENT && listAt[p] != present -> sendRowsAndList() }

  :: d_step { at[p] == ROWS_SENT && answer[p] == REFUSED ->
       REQUIRE(isOvertaken(p), no_lone_writer_fenced);
       over() }
#ifdef NO_BINDING
  :: d_step { at[p] == ROWS_SENT && answer[p] == SENT && !isFree(put[p]) && lastWal[p] + 1 < SLOTS ->
       printf("writer %d: has no answer and takes the next id\n", p);
       lastWal[p]++; put[p].id = lastWal[p] + 1 }
#endif
  :: d_step { at[p] == ROWS_SENT && isApplied(p) ->
       at[p] = CONFIRM;
#ifdef CONFIRM_BEFORE_CHECK
       epochAt[p] = putAt[p];
#endif
       if
       :: hasListed[p] -> listReceived(); hasListed[p] = false; listAt[p] = LONG_AGO
       :: else
       fi }

  :: d_step { at[p] == CONFIRM && ANSWER_MAY_COUNT ->
       if
       :: CONFIRMS_EPOCH && putAt[p] > epochAt[p] -> epochAt[p] = putAt[p]
       :: else
       fi;
       putAt[p] = LONG_AGO;
       lastWal[p] = put[p].id;
       r = bitOf(put[p].content);
       mem[p] = mem[p] | r;
       settled();
#ifndef ACK_EARLY
       acknowledge(r);
#endif
       r = 0;
       at[p] = SERVE }
  :: d_step { at[p] == CONFIRM && epochAt[p] != present ->
       if
       :: isOvertaken(p) -> over()
       :: else -> epochAt[p] = present; adoptIfConfirming()
       fi }
#else
  :: d_step { at[p] == SERVE && mayWrite(p) ->
       r = 1 << (p * WRITES + wrote[p]);
       mem[p] = mem[p] | r; unacked[p] = unacked[p] | r;
       printf("writer %d: keeps row %d in memory\n", p, r);
       wrote[p]++;
       r = 0 }
#endif

  /* -- rows into tables */

  :: d_step { at[p] == SERVE && p >= COMMITTERS && hasToCommit(p) && base[p] < MANIFESTS -> commit() }

  :: d_step { at[p] == COMMIT_SENT && (answer[p] == REFUSED || isApplied(p) && isBelowBoundaryAtCommit(put[p].id)) -> listAndCommit() }
  :: d_step { at[p] == COMMIT_SENT && isApplied(p) && !isBelowBoundaryAtCommit(put[p].id) && COMMIT_MAY_COUNT -> inUse(); flushed() }
  :: d_step { at[p] == COMMIT_SENT && isApplied(p) && !isBelowBoundaryAtCommit(put[p].id) ->
#ifdef LIST_ENDS_COMMIT
       if
       :: isOvertaken(p) -> over()
       :: else -> inUse(); flushed(); adopt(); epochAt[p] = present
       fi }
#else
       listAndCommit() }
#endif

  od
}

init {
  d_step {
    /* Writer 0 has opened an empty database: it claimed with manifest 1 and fenced slot 1. */
    manifest[1] = BY(0); newest = 1; newestEpoch = 1;
    wal[1] = FENCE(0); newestWal = 1;
#ifdef FIRST_IS_GONE
    at[0] = OVER;
#else
    at[0] = SERVE; epoch[0] = 1; base[0] = 1; lastWal[0] = 1; epochAt[0] = present; baseAt[0] = present;
#endif
  };
  atomic {
    run World();
#ifndef FIRST_IS_GONE
    run Writer(0);
#endif
#if WRITERS > 1
    run Writer(1);
#endif
#if WRITERS > 2
    run Writer(2);
#endif
  }
}
