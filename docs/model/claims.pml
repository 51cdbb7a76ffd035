/* The claims of one external step, for the model checker SPIN 6.5. In saga.pml a lease may run out, and a step be given up, at
   any moment. This model says when they may: it has the token and the database session of a claim, the number of
   attempts, and the reports of failed runs. README.md says what the model covers and what not.

   RUNS runs get a copy of one message, at any time. Each may be lost before or after its call, or go on after its claim was
   freed or taken over. Its session may end before it does. Its lease may run out at any moment. Reports of failures come
   late, repeatedly, or never. The gateway acts once for the key of the step, so calls in parallel do no harm.

   Three things must hold in every state:
   - no run, report or flush ends the lease of another run whose session lives;
   - the step is given up only after LIMIT failures of its own since the last agreed wait;
   - no definite answer of the gateway is thrown away while the row is open.
   With GOES_ON, one worker is lost and reports nothing, no lease runs out, and the step must be done in the end.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#ifndef RUNS
#define RUNS 3             /* copies of the message; the number of a run is its token */
#endif
#define LIMIT 2            /* failures after which the step is given up */
#define NOBODY RUNS        /* no claim */

/* The inbox row. */
#define NONE 0
#define STARTED 1
#define WAITING 2
#define DONE 3
#define REFUSED 4
#define OPEN (state==STARTED || state==WAITING)

/* What a run learns from its call. */
#define PAID 1             /* the gateway acted: definite */
#define UNKNOWN 2          /* no answer came */
#define AGREED 3           /* the customer must confirm first, and the attempt does not count */

byte state, attempts, losses, claim = NOBODY;
bool due;                                                       /* the lease has run out, or the next attempt is due */
byte number[RUNS];                                              /* the attempt that the claim of a run has counted; 0: none */
bool session[RUNS], lost[RUNS], failed[RUNS];                   /* of each run: its session lives; it was lost, or it failed */
byte own;                                                       /* failures and unknown answers since the last agreed wait */
bool robbed, blamed, forgotten;                                 /* one of the three things did not hold */
bool wasfreed; byte gone;                                       /* for the probes; processes lost */

/* The row is leased to a living session of another run than r. */
#define LEASED (state==STARTED && claim!=NOBODY && session[claim] && !due)
#define ROB(r) robbed = robbed || (LEASED && claim!=(r))

/* The report of run r is of the attempt that the row has counted last, or of the next one. */
#define MATCHES (OPEN && number[r]>0 && (attempts==number[r]-1 || (attempts==number[r] && state==STARTED)))
#ifdef NO_TOKEN_FOR_REPORTS
#define MAYFAIL MATCHES
#else
#define MAYFAIL (state==STARTED && claim==r)
#endif
#ifdef NO_SESSION_FOR_REPORTS
#define MAYREPORT true
#else
#define MAYREPORT (!LEASED)
#endif
#ifdef NO_TOKEN_FOR_FREEING
#define MAYFREE (state==STARTED && !due)
#else
#define MAYFREE (state==STARTED && claim==seen && !due)
#endif
#ifdef NO_LOSSES
#define COUNTED attempts
#else
#define COUNTED (attempts>losses -> attempts-losses : 0)
#endif

inline wait_for_next() { state = WAITING; claim = NOBODY; due = true }
inline fail() {
  if :: COUNTED>=LIMIT -> blamed = blamed || own<LIMIT; state = REFUSED; claim = NOBODY
     :: else -> wait_for_next() fi }

#define FIRST(r) (r==0 || number[r-1]>0)                        /* runs are alike, so they claim in the order of their numbers */

proctype Run(byte me) {
  byte answer;
 end: do
  :: atomic { (state==NONE || (OPEN && due)) && FIRST(me) ->                       /* [sagas.storage.inbox.claim] */
       if :: state==STARTED && claim!=NOBODY -> losses++ :: else fi;               /* taken over: the other run is lost or late */
       state=STARTED; attempts++; claim=me; number[me]=attempts; session[me]=true; due=false; break }
  od;
  if
  :: atomic { gone<RUNS-1 -> gone++; lost[me]=true; goto over }                    /* fault: dies before the call */
  :: atomic { true ->                                                              /* [payments.steps.Charge.call] */
#ifdef GOES_ON
       answer=PAID }
#else
       if :: answer=PAID :: answer=UNKNOWN :: answer=AGREED fi }
#endif
  fi;
  if
#ifdef GOES_ON
  :: atomic { gone<1 -> gone++; lost[me]=true; goto over }                         /* fault: dies after the call */
#else
  :: atomic { true -> lost[me]=true; goto over }                                   /* fault: dies after the call */
  :: atomic { true -> failed[me]=true; own++; goto over }                          /* [sagas.execution.runner.run] cannot record */
#endif
  :: atomic { true ->                                                              /* [sagas.storage.inbox.record_results] */
       if
#ifdef NO_ANSWER_OF_OTHERS
       :: answer==PAID && OPEN && claim!=me -> forgotten=true
       :: answer==PAID && OPEN && claim==me ->
#else
       :: answer==PAID && OPEN ->
#endif
            wasfreed = (claim!=me); state=DONE; claim=NOBODY
#ifdef NO_TOKEN_FOR_WAITS
       :: answer!=PAID && OPEN -> ROB(me);
#else
       :: answer!=PAID && OPEN && (claim==me || claim==NOBODY) ->
#endif
            if :: answer==AGREED -> attempts=0; own=0 :: else -> own++ fi; wait_for_next()
       :: else fi; goto over }
  fi;
 over: skip
}

/* ------------------------------------------------------------------------------- the session of each run, and the flush */
proctype Session(byte r) {
 end: do
#ifdef GOES_ON
  :: atomic { lost[r] && session[r] -> session[r]=false }                          /* fault: the session of a lost process ends */
#else
  :: atomic { session[r] -> session[r]=false }                                     /* fault: the session ends */
  :: atomic { claim==r && !due -> due=true }                                       /* fault: the lease runs out */
#endif
  od }

proctype Flush() {
  byte seen = NOBODY;
 end: do
#ifndef NO_FREE
  :: atomic { seen==NOBODY && claim!=NOBODY && !session[claim] && !due ->          /* [sagas.storage.inbox.free_lost] looks */
       seen=claim }
  :: atomic { seen!=NOBODY && MAYFREE -> ROB(NOBODY); losses++; claim=NOBODY;      /* [sagas.storage.inbox.free_lost] frees */
       due=true; seen=NOBODY }
  :: atomic { seen!=NOBODY && !MAYFREE -> seen=NOBODY }                            /* [sagas.storage.inbox.free_lost] too late */
#endif
  :: atomic { state==DONE || state==REFUSED -> break }                             /* fault: none, the step is over */
  od }

/* ----------------------------------------------------------- the error callback of each run: late, repeated, or never */
proctype Callback(byte r) {
 end: do
  :: atomic { failed[r] && MAYFAIL -> ROB(r);                                      /* [sagas.storage.inbox.count_failures] names its claim */
#ifdef NO_TOKEN_FOR_REPORTS
       attempts=number[r];
#endif
       fail() }
#ifndef GOES_ON
  :: atomic { lost[r] && MATCHES && MAYREPORT -> ROB(NOBODY);                      /* [sagas.storage.inbox.count_failures] of a lost process */
       if :: attempts<number[r] || claim!=NOBODY -> losses++ :: else fi;
       attempts=(attempts<number[r] -> number[r] : attempts); wait_for_next() }
#endif
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* done by a run whose claim had been freed or taken over */
#define SOUGHT ( state==DONE && wasfreed )
#elif PROBE==2              /* given up after enough failures of its own */
#define SOUGHT ( state==REFUSED )
#else
#define SOUGHT ( robbed || blamed || forgotten )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }

#ifdef GOES_ON
proctype End() { atomic { timeout -> assert(state==DONE) } }
#endif

init { atomic {                                                                    /* [sagas.delivery.publisher.publish] */
  byte n; run Monitor(); run Flush();
#ifdef GOES_ON
  run End();
#endif
  do :: n<RUNS -> run Run(n); run Session(n); run Callback(n); n++ :: else -> break od } }
