/* The automatic holds of one step, for the model checker SPIN 6.5. README.md says what the model covers and what not.

   ORDERS orders need the step. The step itself may be at fault, and is mended; then it may fail again. Its error shows the
   fault, so one order is enough. Some of the other orders are bad: they fail alike, for a reason of their own. The last
   order is good. Messages are lost and repeated, and processes die in the middle of the step.

   Four things must hold in every state:
   - a good order is never given up;
   - while the step is on hold, one order at a time tries it;
   - once the step works, a good order that waits at the hold is tried after each other order at the most once;
   - the step goes on hold only for a fault of its own, or for two orders that failed alike since its last success or release.
   When nothing can happen any more, every order has ended, and no hold is left.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#define ORDERS 3
#define GOOD 2             /* the order that is good; the others may be bad */
#define LIMIT 2            /* failures of its own after which an order is given up */
#define NOBODY ORDERS      /* no probe yet */

#ifndef LOSSES
#define LOSSES 1           /* messages lost */
#endif
#ifndef DUPS
#define DUPS 1             /* messages repeated */
#endif
#ifndef CRASHES
#define CRASHES 1          /* processes that die in the middle of the step */
#endif
#ifndef CANCELS
#define CANCELS 1          /* orders that their customer cancels */
#endif
#ifndef BREAKS
#define BREAKS 2           /* times that the step itself is at fault */
#endif

/* The inbox row of each order. */
#define NONE 0
#define STARTED 1
#define WAITING 2
#define HELD 3
#define DONE 4
#define REFUSED 5
#define INFLIGHT (probe!=NOBODY && (row[probe]==STARTED || row[probe]==WAITING))
#define ISHELD(o) (row[o]==HELD)
#define ANYHELD (ISHELD(0) || ISHELD(1) || ISHELD(2))

byte row[ORDERS], counted[ORDERS];
bool msg[ORDERS], bad[ORDERS], answered[ORDERS];                /* a message is in the broker; the order is bad; the probe got an answer */
bool evident[ORDERS];                                           /* a stored failure that counts as new */
bool failed[ORDERS];                                            /* the truth: a failure since the last success or release */
bool guest[ORDERS];                                             /* it began while the step was on hold, and has not ended its try */
bool hold, broken; byte probe = NOBODY, breaks, losses, dups, crashes, cancels;
byte tries;                                                     /* tries at the hold since the step works and the good order waits */
bool wronged, crowded, unjust, starved;                         /* one of the four things did not hold */
bool released, refusedatlast;                                   /* for the probes */

#define SUM(x) (x[0]+x[1]+x[2])
#define FORGET(x) x[0]=false; x[1]=false; x[2]=false

inline hold_now(o) {
  unjust = unjust || (!broken && SUM(failed)<2);
  hold=true; probe=NOBODY; row[o]=HELD; tries=0 }
inline count(o) {
  counted[o]++;
  if :: counted[o]>=LIMIT -> row[o]=REFUSED; wronged = wronged || !bad[o]; refusedatlast = true
     :: else -> row[o]=WAITING fi }

inline judge(o) {
  if :: broken -> skip :: else -> evident[o]=true; failed[o]=true fi;            /* a fault of the step looks otherwise */
  if
#ifndef NO_HELD_AGAIN
  :: hold -> row[o]=HELD
  :: !hold && broken ->
#else
  :: broken ->
#endif
#ifdef NO_BLAME
       count(o)
#else
       if :: !hold -> hold_now(o) :: row[o]=WAITING fi
#endif
#ifndef NO_HELD_AGAIN
  :: !hold && !broken ->
#else
  :: !broken ->
#endif
       if :: SUM(evident)>=2 -> if :: !hold -> hold_now(o) :: row[o]=WAITING fi
          :: else -> count(o) fi
  fi }

#define PASSES(o) (!hold || probe==o)

proctype Order(byte o) {
 end: do
  :: atomic { msg[o] && (row[o]==NONE || row[o]==WAITING || row[o]==HELD) ->       /* [sagas.execution.claiming.claim] */
       msg[o]=false;
       if
#ifdef NO_HOLD_AT_CLAIM
       :: true ->
#else
       :: !PASSES(o) -> row[o]=HELD
       :: PASSES(o) ->
#endif
            row[o]=STARTED; guest[o]=hold; crowded = crowded || (hold && SUM(guest)>1);
            if :: hold && !broken && ISHELD(GOOD) -> tries++; starved = starved || tries>ORDERS+CRASHES :: else fi
       fi }
  :: atomic { msg[o] && (row[o]==STARTED || row[o]==DONE || row[o]==REFUSED) ->    /* [sagas.storage.inbox.claim] ignores it */
       msg[o]=false }
  :: atomic { row[o]==STARTED && (broken || bad[o]) -> guest[o]=false; judge(o) }  /* [sagas.execution.blame.judge] */
  :: atomic { row[o]==STARTED && !broken && !bad[o] ->                             /* [sagas.storage.inbox.record_results] */
       guest[o]=false; row[o]=DONE; answered[o]=true; FORGET(failed);
#ifndef NO_SUCCESS
       FORGET(evident)                                                             /* evidence before the success is no longer new */
#endif
     }
  :: atomic { row[o]==STARTED && !broken && !bad[o] ->                             /* [sagas.execution.settlement.settle] refuses */
       guest[o]=false; row[o]=REFUSED; answered[o]=true }
  :: atomic { (row[o]==NONE || row[o]==WAITING || ISHELD(o)) && cancels<CANCELS -> /* [sagas.storage.inbox.bar] the order is cancelled */
       cancels++; row[o]=REFUSED }
  :: atomic { row[o]==STARTED && crashes<CRASHES -> crashes++; guest[o]=false;     /* fault: its process dies */
       row[o]=WAITING }
  :: atomic { (row[o]==NONE || row[o]==WAITING) && !msg[o] -> msg[o]=true }        /* [sagas.delivery.relay.flush] */
  :: atomic { ISHELD(o) && !hold && !msg[o] -> msg[o]=true }                       /* [sagas.operations.holds.resume] */
  :: atomic { msg[o] && losses<LOSSES -> losses++; msg[o]=false }                  /* fault: a message is lost */
  :: atomic { !msg[o] && dups<DUPS -> dups++; msg[o]=true }                        /* fault: a message is repeated */
  od }

#define CHOSEN(o) row[o]=WAITING; probe=o

proctype Beat() {
  byte n;
 end: do
  :: atomic { hold && probe!=NOBODY && answered[probe] ->                          /* [sagas.storage.hold_probes.release_proven] answer */
       hold=false; probe=NOBODY; released=true; FORGET(failed);
#ifndef NO_AGEING
       FORGET(evident)                                                             /* in the same transaction */
#endif
     }
#ifndef NO_RELEASE_OF_EMPTY
  :: atomic { hold && !ANYHELD && !INFLIGHT -> hold=false; probe=NOBODY }          /* [sagas.storage.hold_probes.release_proven] empty */
#endif
#ifdef NO_SINGLE_PROBE
  :: atomic { hold && ANYHELD ->                                                   /* [sagas.storage.hold_probes.send_probes] */
#else
  :: atomic { hold && ANYHELD && !INFLIGHT && !(probe!=NOBODY && answered[probe]) -> /* [sagas.storage.hold_probes.send_probes] */
#endif
#ifdef NO_TURNS
       n=0;
#else
       n=(probe==NOBODY -> 0 : probe+1);
#endif
       do :: n>=ORDERS -> n=0 :: n<ORDERS && ISHELD(n) -> break :: n<ORDERS && !ISHELD(n) -> n++ od;
       CHOSEN(n); n=0 }
  od }

proctype Fault() {
 end: do
  :: atomic { !broken && breaks<BREAKS -> breaks++; broken=true }                  /* fault: the step fails for every order */
  :: atomic { broken -> broken=false; tries=0 }                                    /* fault: none, the step is mended */
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* on hold, released by an answer, and every order has ended */
#define SOUGHT ( released && row[0]>=DONE && row[1]>=DONE && row[2]>=DONE && !hold )
#elif PROBE==2              /* a bad order is given up */
#define SOUGHT ( refusedatlast )
#else
#define SOUGHT ( wronged || crowded || unjust || starved )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }
#ifndef PROBE
proctype End() { atomic { timeout -> assert(row[0]>=DONE && row[1]>=DONE && row[2]>=DONE && !hold) } }
#endif

init { atomic {                                                                    /* [sagas.delivery.publisher.publish] */
  byte o;
  run Monitor(); run Beat(); run Fault();
#ifndef PROBE
  run End();
#endif
  if :: bad[0]=true :: skip fi; if :: bad[1]=true :: skip fi;
  do :: o<ORDERS -> msg[o]=true; run Order(o); o++ :: else -> break od } }
