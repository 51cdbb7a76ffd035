/* An optional step after the pivot, and the step behind it, for the model checker SPIN 6.5. claims.pml says when a lease may
   end; here it may end at any moment. README.md says what the model covers and what not.

   RUNS runs get a copy of the message, at any time. Each may be lost, raise, or get an answer: the outside system has acted,
   it is not known, or it has not decided. Answers and reports of failures come late, repeatedly, or never. The message to the
   next step may be lost; the re-drive sends each row of the outbox again.

   Three things must hold in every state:
   - the step has one outcome: it is done, or it is skipped, and one row of the outbox says so;
   - it is skipped only after LIMIT failures of its own since the last agreed wait;
   - the next step runs at most once.
   In the end, whatever the outside system answers, the saga must have ended.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#ifndef RUNS
#define RUNS 3             /* copies of the message */
#endif
#define NOBODY RUNS        /* no claim */
#define LIMIT 2            /* the tries of the step */
#define MOST 9             /* bounds the search without the skip; no search with it comes so far */

/* The inbox row. */
#define NONE 0
#define STARTED 1
#define WAITING 2
#define DONE 3
#define SKIPPED 4          /* the state `refused` */
#define OPEN (state==STARTED || state==WAITING)

/* What a run learns from its call. */
#define GUIDED 1           /* the outside system acted: definite */
#define UNKNOWN 2          /* no answer came */
#define AGREED 3           /* it has not decided yet, and the attempt does not count */

#ifdef NO_OPEN_FOR_ANSWERS
#define TAKES_ANSWER (state!=NONE)
#else
#define TAKES_ANSWER OPEN
#endif
#ifdef NO_OPEN_FOR_REPORTS
#define COUNTS(r) (state!=NONE)
#else
#define COUNTS(r) (state==STARTED && claim==r)
#endif
#ifdef NO_REFUSAL_OF_COPIES
#define MAYRUN ((state==NONE || OPEN) && due || state==SKIPPED)
#else
#define MAYRUN ((state==NONE || OPEN) && due)
#endif

byte state, attempts, losses, own;                              /* own: failures of its own since the last agreed wait */
byte claim = NOBODY;
bool due = true;
bool began[RUNS], failed[RUNS];                                 /* of each run: it has claimed the row; it has failed */
byte rows, travelled;                                           /* rows that say the outcome; runs of the next step */
bool sent, nextdone, hasty, late;                               /* hasty: skipped too early; late: for the probe */

#define COUNTED (attempts>losses -> attempts-losses : 0)

inline take_over() { if :: state==STARTED -> losses++ :: else fi }           /* the other run is lost or late */
inline wait_for_next() { state = WAITING; claim = NOBODY; due = true }
inline tell() { rows++; sent = true }
inline skip_step() { hasty = hasty || own<LIMIT; state = SKIPPED; tell() }
inline fail() {
#ifdef NO_SKIP
  wait_for_next() }
#else
  if :: COUNTED>=LIMIT -> skip_step() :: else -> wait_for_next() fi }
#endif

proctype Run(byte me) {
  byte answer;
 end: do
  :: atomic { MAYRUN && (me==0 || began[me-1]) ->                                  /* [sagas.storage.inbox.claim] */
       take_over(); state=STARTED; attempts++; claim=me; began[me]=true; due=false; break }
  od;
  if
  :: atomic { true -> goto over }                                                  /* fault: dies before the call */
  :: atomic { true -> failed[me]=true; own++; goto over }                          /* [sagas.execution.runner.run] raises */
  :: atomic { true ->                                                              /* [sagas.execution.external.call_outside] */
       if :: answer=GUIDED :: answer=UNKNOWN :: answer=AGREED fi }
  fi;
  if
  :: atomic { true -> goto over }                                                  /* fault: dies after the call */
  :: atomic { true ->                                                              /* [sagas.storage.inbox.record_results] */
       if
       :: TAKES_ANSWER && answer==GUIDED -> late = (state==SKIPPED); state=DONE; tell()
       :: OPEN && claim==me && answer==UNKNOWN -> own++; fail()
       :: OPEN && claim==me && answer==AGREED -> own=0; attempts=0; losses=0; wait_for_next()
       :: else                                                                     /* too late: discarded */
       fi }
  fi;
 over: skip
}

/* The error callback of each run: late, repeated, or never. */
proctype Callback(byte r) {
 end: do
  :: atomic { failed[r] && COUNTS(r) && rows<3 -> fail();                          /* [sagas.execution.failures.record_failures] */
#ifndef NO_OPEN_FOR_REPORTS
       failed[r]=false
#endif
       }
  od }

proctype Lease() {
 end: do
  :: atomic { state==STARTED && !due -> due=true }                                 /* fault: the lease runs out */
  od }

/* The messages of the outbox, and the next step with its own inbox row. */
proctype Next() {
 end: do
  :: atomic { sent -> sent=false }                                                 /* fault: the message is lost */
  :: atomic { sent && !nextdone -> nextdone=true; travelled++ }                    /* [sagas.execution.runner.run] the next step */
  :: atomic { sent && nextdone -> sent=false }                                     /* [sagas.storage.inbox.claim] ignores a copy */
  :: atomic { rows>0 && !sent && !nextdone -> sent=true }                          /* [sagas.operations.redrive.republish] */
  od }

/* The saga does not end before its step has an outcome. Once all copies are used up, the last word of the outside system is
   that it does not know: the relay sends the open step again, and every try fails. */
proctype Relay() {
 end: do
  :: atomic { began[RUNS-1] && OPEN    && due && attempts<MOST ->                  /* [sagas.storage.inbox.claim_due] tries again */
       take_over(); attempts++; own++; fail() }
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* skipped after enough failures, and the next step has run */
#define SOUGHT ( state==SKIPPED && travelled==1 )
#elif PROBE==2              /* done, although an attempt had failed */
#define SOUGHT ( state==DONE && own>0 && travelled==1 )
#else
#define SOUGHT ( rows>1 || hasty || travelled>1 || late )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }

proctype End() { atomic { timeout -> assert(nextdone || !began[RUNS-1]) } }

init { atomic {                                                                    /* [sagas.delivery.publisher.publish] */
  byte n; run Monitor(); run Lease(); run Next(); run Relay(); run End();
  do :: n<RUNS -> run Run(n); run Callback(n); n++ :: else -> break od } }
