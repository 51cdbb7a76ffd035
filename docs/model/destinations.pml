/* The automatic holds of a step that calls two outside systems, for the model checker SPIN 6.5. README.md says what the
   model covers and what not. holds.pml has the attempts that count, and the holds of a step alone.

   Two orders call A at first, and one calls B. The domain may move one of them to the other destination. A may give no
   answer. The step itself may be at fault. Each order may fail once for a reason of its own. Messages are lost and repeated.
   An operator may release any hold.

   Five things must hold in every state:
   - an order is held only for the destination that it would call, unless the whole step is on hold;
   - while a destination is on hold, one order at a time calls it;
   - a destination goes on hold only for two orders that failed there since its last answer, and it does then;
   - the step goes on hold only for a fault of its own, or for two orders that failed at two destinations, neither on hold;
   - while the step is on hold, the order that tries it calls: no hold of a destination stops it, unless an order calls
     there that was its probe before.
   When nothing can happen any more, every order has ended, and no hold is left.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#define ORDERS 3
#define NOBODY ORDERS      /* no probe yet */
#define A 0                /* the destinations, and the holds */
#define B 1
#define STEP 2             /* the hold of the whole step */
#define UNKNOWN 2          /* no destination is stored */

#ifndef LOSSES
#define LOSSES 1           /* messages lost */
#endif
#ifndef DUPS
#define DUPS 1             /* messages repeated */
#endif
#ifndef CANCELS
#define CANCELS 1          /* orders that their customer cancels */
#endif
#ifndef MOVES
#define MOVES 1            /* orders that the domain moves to the other destination */
#endif
#ifndef BREAKS
#define BREAKS 1           /* times that the step itself is at fault */
#endif
#ifndef SILENCES
#define SILENCES 1         /* times that A gives no answer */
#endif
#ifndef RELEASES
#ifdef PROBE
#define RELEASES 0
#else
#define RELEASES 1         /* holds that an operator releases */
#endif
#endif
#ifndef BAD
#define BAD 1              /* orders that fail once for a reason of their own */
#endif

/* The inbox row of each order. */
#define NONE 0
#define STARTED 1
#define WAITING 2
#define HELD 3
#define DONE 4
#define REFUSED 5
#define INFLIGHT(h) (probe[h]!=NOBODY && !gone[h] && (row[probe[h]]==STARTED || row[probe[h]]==WAITING))
#define ANSWERED(h) (probe[h]!=NOBODY && !gone[h] && row[probe[h]]==DONE)
#define AT(h,o) (row[o]==HELD && (h==STEP || stored[o]==h))
#define ANYAT(h) (AT(h,0) || AT(h,1) || AT(h,2))

byte row[ORDERS], dest[ORDERS], stored[ORDERS], called[ORDERS];  /* the destination of the request, of the row, of the call */
bool msg[ORDERS], bad[ORDERS], guest[ORDERS];                    /* guest: it called a destination on hold, and has no answer yet */
bool seen[6], seenstep[6];                                       /* evidence at a destination, since the last success there, or anywhere */
bool truly[6], trulystep[6];                                     /* the truth: failures since the last answer */
bool hold[3], silent, broken; byte probe[3];
bool gone[3];                                                    /* the probe waits at another destination since */
byte losses, dups, cancels, moves, breaks, silences, releases;
bool wronged, crowded, unjust, missed, stopped;                  /* one of the five things did not hold */
bool beside;                                                     /* for the probes */

#define SUM(x,d) (x[d*3]+x[d*3+1]+x[d*3+2])
#define FORGET(x,d) x[d*3]=false; x[d*3+1]=false; x[d*3+2]=false
#define FAILS(o) (broken || (silent && called[o]==A) || bad[o])
#define PASSES(o,d) (!hold[d] || (probe[d]==o && !gone[d]) || PASSESASSTEP(o))
#define LEAVES(o,d) gone[1-d]=gone[1-d] || (hold[1-d] && probe[1-d]==o)
#define CALLSAT(p,o,d) (p!=o && row[p]==STARTED && stored[p]==d)
#define CALLED(o,d) (CALLSAT(0,o,d) || CALLSAT(1,o,d) || CALLSAT(2,o,d))
#define MAYTRY(h,o) (AT(h,o) && (stored[o]==UNKNOWN || !CALLED(o,stored[o])))
#define MAYTRYANY(h) (MAYTRY(h,0) || MAYTRY(h,1) || MAYTRY(h,2))
#ifdef NO_WAIT_FOR_CALL
#define WAITS(o,d) false
#else
#define WAITS(o,d) (hold[d] && CALLED(o,d))
#endif
#ifdef NO_PASS_OF_STEP
#define PASSESASSTEP(o) false
#else
#define PASSESASSTEP(o) (hold[STEP] && probe[STEP]==o)
#endif
#ifdef NO_PREPARE_FIRST
#define LOOKED(o) (stored[o]==UNKNOWN -> dest[o] : stored[o])
#else
#define LOOKED(o) dest[o]
#endif
#ifdef NO_LEAVING_OUT
#define SEENBY(d) (SUM(seenstep,d)>0)
#else
#define SEENBY(d) (SUM(seenstep,d)>0 && !hold[d])
#endif
#define ALIKE(d) (SUM(trulystep,d)>0 && !hold[d])
#define TWO(x) ((x[0]||x[3])+(x[1]||x[4])+(x[2]||x[5])>=2)

inline hold_now(h, o) {
  if :: h==STEP -> unjust = unjust || (!broken && !(ALIKE(A) && ALIKE(B) && TWO(trulystep)))
     :: else -> unjust = unjust || SUM(truly,h)<2; beside = beside || row[2]==DONE; LEAVES(o,h) fi;
  hold[h]=true; probe[h]=NOBODY; gone[h]=false; row[o]=HELD; stored[o]=called[o] }

inline judge(o) {
  d=called[o];
  if :: broken -> skip
     :: else -> seen[d*3+o]=true; seenstep[d*3+o]=true; truly[d*3+o]=true; trulystep[d*3+o]=true fi;
  bad[o]=false;
  if
  :: hold[STEP] -> row[o]=HELD; stored[o]=d; LEAVES(o,d)
  :: !hold[STEP] && hold[d] -> row[o]=HELD; stored[o]=d; LEAVES(o,d)
  :: !hold[STEP] && !hold[d] && hold[1-d] && probe[1-d]==o && !gone[1-d] -> row[o]=HELD; stored[o]=1-d
  :: !hold[STEP] && !hold[d] && !(hold[1-d] && probe[1-d]==o && !gone[1-d]) ->
       if
       :: broken -> hold_now(STEP,o)
#ifdef NO_OWN_EVIDENCE
       :: !broken && SUM(seen,A)+SUM(seen,B)>=2 -> hold_now(d,o)
       :: !broken && SUM(seen,A)+SUM(seen,B)<2 -> row[o]=WAITING; stored[o]=d
#else
       :: !broken && SUM(seen,d)>=2 -> hold_now(d,o)
       :: !broken && SUM(seen,d)<2 && SEENBY(A) && SEENBY(B) && TWO(seenstep) -> hold_now(STEP,o)
       :: !broken && SUM(seen,d)<2 && !(SEENBY(A) && SEENBY(B) && TWO(seenstep)) -> row[o]=WAITING; stored[o]=d;
          missed = missed || SUM(truly,d)>=2
#endif
       fi
  fi }

proctype Order(byte o) {
  byte d;
 end: do
  :: atomic { msg[o] && (row[o]==NONE || row[o]==WAITING || row[o]==HELD) ->       /* [sagas.execution.held_calls.calls_on_hold] */
       msg[o]=false; d=LOOKED(o);
       if
       :: hold[STEP] && probe[STEP]!=o -> row[o]=HELD                              /* the claim sees the hold of the step */
#ifdef NO_SCOPE
       :: !(hold[STEP] && probe[STEP]!=o) && !(PASSES(o,A) && PASSES(o,B)) ->
            row[o]=HELD; stored[o]=(PASSES(o,A) -> B : A); wronged = wronged || stored[o]!=dest[o]
       :: !(hold[STEP] && probe[STEP]!=o) && PASSES(o,A) && PASSES(o,B) ->
#else
       :: !(hold[STEP] && probe[STEP]!=o) && !PASSES(o,d) ->                       /* the claim is rolled back */
            row[o]=HELD; stored[o]=d; LEAVES(o,d); wronged = wronged || d!=dest[o]; stopped = stopped || hold[STEP]
       :: !(hold[STEP] && probe[STEP]!=o) && PASSES(o,d) && WAITS(o,d) ->          /* [sagas.storage.hold_probes.begin_calls] */
            row[o]=HELD; stored[o]=d; LEAVES(o,d)
       :: !(hold[STEP] && probe[STEP]!=o) && PASSES(o,d) && !WAITS(o,d) ->
#endif
            row[o]=STARTED; called[o]=dest[o]; guest[o]=hold[dest[o]];
#ifndef NO_NOTE
            if :: guest[o] -> stored[o]=dest[o] :: else -> skip fi;                   /* [sagas.storage.hold_probes.begin_calls] */
#endif
            crowded = crowded || (guest[o] && (guest[0] && called[0]==called[o]) + (guest[1] && called[1]==called[o])
                                              + (guest[2] && called[2]==called[o]) > 1)
       fi; d=0 }
  :: atomic { msg[o] && (row[o]==STARTED || row[o]>=DONE) -> msg[o]=false }        /* [sagas.storage.inbox.claim] ignores it */
  :: atomic { row[o]==STARTED && FAILS(o) -> guest[o]=false; judge(o); d=0 }       /* [sagas.execution.blame.judge] */
  :: atomic { row[o]==STARTED && !FAILS(o) ->                                      /* [sagas.storage.inbox.record_results] */
       row[o]=DONE; guest[o]=false; d=called[o]; stored[o]=d;
       FORGET(truly,d); FORGET(trulystep,A); FORGET(trulystep,B); FORGET(seenstep,A); FORGET(seenstep,B);
#ifdef NO_OWN_SUCCESS
       FORGET(seen,A); FORGET(seen,B);
#else
       FORGET(seen,d);
#endif
       d=0 }
  :: atomic { (row[o]==NONE || row[o]==WAITING || row[o]==HELD) && cancels<CANCELS -> /* [sagas.storage.inbox.bar] the order is cancelled */
       cancels++; row[o]=REFUSED }
  :: atomic { (row[o]==NONE || row[o]==WAITING) && !msg[o] -> msg[o]=true }        /* [sagas.delivery.relay.flush] */
  :: atomic { row[o]==HELD && !msg[o] && !hold[STEP] && !(stored[o]==A && hold[A]) && !(stored[o]==B && hold[B]) -> /* [sagas.operations.holds.resume] */
       msg[o]=true }
  :: atomic { row[o]!=STARTED && row[o]<DONE && moves<MOVES -> moves++; dest[o]=1-dest[o] } /* fault: the domain moves the order */
  :: atomic { msg[o] && losses<LOSSES -> losses++; msg[o]=false }                  /* fault: a message is lost */
  :: atomic { !msg[o] && dups<DUPS -> dups++; msg[o]=true }                        /* fault: a message is repeated */
  od }

#define CHOSEN(n) row[n]=WAITING; probe[h]=n; gone[h]=false

proctype Beat(byte h) {
  byte n;
 end: do
  :: atomic { hold[h] && ANSWERED(h) ->                                            /* [sagas.storage.hold_probes.release_proven] answer */
       n=called[probe[h]]; hold[h]=false; probe[h]=NOBODY;
       if                                                                          /* the answer proves its own destination only */
       :: h==STEP || h==n -> FORGET(truly,n); FORGET(seen,n); FORGET(trulystep,n); FORGET(seenstep,n)
       :: h!=STEP && h!=n -> skip
       fi; n=0 }
  :: atomic { hold[h] && !ANYAT(h) && !INFLIGHT(h) -> hold[h]=false; probe[h]=NOBODY; gone[h]=false } /* [sagas.storage.hold_probes.release_proven] empty */
  :: atomic { hold[h] && (h==STEP || !hold[STEP]) && MAYTRYANY(h) && !ANSWERED(h) &&   /* [sagas.storage.hold_probes.send_probes] */
#ifndef NO_SINGLE_PROBE
              !INFLIGHT(h) &&
#endif
#ifndef NO_WAIT_FOR_DESTINATIONS
              (h!=STEP || (!INFLIGHT(A) && !INFLIGHT(B))) &&
#endif
              true ->
       n=(probe[h]==NOBODY -> 0 : probe[h]+1);
       do :: n>=ORDERS -> n=0 :: n<ORDERS && MAYTRY(h,n) -> break :: n<ORDERS && !MAYTRY(h,n) -> n++ od;
       CHOSEN(n); n=0 }
  od }

#define RELEASED(h) hold[h]=false; probe[h]=NOBODY; gone[h]=false

proctype Fault() {
 end: do
  :: atomic { !silent && silences<SILENCES -> silences++; silent=true }            /* fault: A gives no answer */
  :: atomic { silent -> silent=false }                                             /* fault: none, A answers */
  :: atomic { !broken && breaks<BREAKS -> breaks++; broken=true }                  /* fault: the step fails for every order */
  :: atomic { releases<RELEASES && hold[A] -> releases++; RELEASED(A) }            /* [sagas.operations.holds.release] */
  :: atomic { releases<RELEASES && hold[STEP] -> releases++; RELEASED(STEP) }      /* [sagas.operations.holds.release] */
  :: atomic { broken -> broken=false }                                             /* fault: none, the step is mended */
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* A goes on hold although an order of B has succeeded */
#define SOUGHT ( beside )
#elif PROBE==2              /* A is on hold, and an order of B succeeds meanwhile */
#define SOUGHT ( hold[A] && !hold[STEP] && row[2]==DONE && stored[2]==B && row[0]==HELD && row[1]==HELD )
#elif PROBE==3              /* both destinations and the step are on hold */
#define SOUGHT ( hold[A] && hold[STEP] )
#else
#define SOUGHT ( wronged || crowded || unjust || missed || stopped )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }
#ifndef PROBE
proctype End() { atomic { timeout -> assert(row[0]>=DONE && row[1]>=DONE && row[2]>=DONE && !hold[A] && !hold[B] && !hold[STEP]) } }
#endif

init { atomic {                                                                    /* [sagas.delivery.publisher.publish] */
  byte o;
  probe[A]=NOBODY; probe[B]=NOBODY; probe[STEP]=NOBODY;
  dest[2]=B; stored[0]=UNKNOWN; stored[1]=UNKNOWN; stored[2]=UNKNOWN;
  run Monitor(); run Beat(A); run Beat(B); run Beat(STEP); run Fault();
#ifndef PROBE
  run End();
#endif
#if BAD
  if :: bad[0]=true :: bad[1]=true :: bad[2]=true :: skip fi;
#endif
  do :: o<ORDERS -> msg[o]=true; run Order(o); o++ :: else -> break od } }
