/* The retention of one saga in one service, for the model checker SPIN 6.5. In saga.pml a service purges a saga that has
   ended. This model says how the service learns that: from the lists of open sagas that the home of the saga sends. README.md
   says what the model covers and what not.

   The saga starts at day 0, and is open for any time. The home sends a list each day, or is down. Lists arrive on their day
   or later, repeatedly, and in any order. FORGED lists, of any date, leave the saga out. One step of the saga is in this
   service. Messages of the step come as long as the saga is open, and copies of them at any time after.

   Two things must hold in every state:
   - no message of an open saga is parked, that is, kept and never run;
   - the step runs once, though its inbox row may be deleted.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#define KEPT_DAYS 2        /* SAGA_RETENTION_DAYS; days here are the shortest time that matters */
#define NOTICE 2           /* sagas.operations.retention.NOTICE */
#ifndef LAST
#define LAST 7             /* the last day */
#endif
#ifndef FORGED
#define FORGED 1
#endif
#define NEVER (-9)         /* a date before all others */

short now;
bool open = true;                                               /* the saga, at its home */
bool sent[LAST+1], names[LAST+1], arrived[LAST+1];              /* the list of each day: whether it names the saga */
byte forged;

/* The row of the watermark: `before`, and whether the saga is kept, the last list that names it, the last list at all. */
short before = NEVER, listed_before = NEVER, named_at = NEVER, heard_at = NEVER, heard_since = NEVER;
bool kept;

bool done; byte runs; short done_at = NEVER;                    /* the inbox row of the step, and how often it ran */
bool deleted, parked, broken;                                   /* for the probes; an open saga was parked */

#define HORIZON (now-KEPT_DAYS)
#define PURGED (before>0 && !kept)                              /* the watermark has passed the saga */
#define MIN(a,b) ((a)<(b) -> (a) : (b))

#ifdef NO_HORIZON
#define FROM_THE_FUTURE(date) false
#define NOT_LATER(date) (date)
#else
#define FROM_THE_FUTURE(date) ((date)>HORIZON+NOTICE)
#define NOT_LATER(date) MIN(date, HORIZON)
#endif
#ifdef NO_ORDER
#define OLDER(date) false
#else
#define OLDER(date) ((date)<=listed_before)
#endif
#ifdef NO_PATIENCE
#define MAYMOVE true
#else
#define MAYMOVE (heard_since<=now-NOTICE)
#endif
#ifdef NO_MEMORY
#define REMEMBERED false
#elif defined(NO_MEMORY_OF_A_GAP)
#define REMEMBERED (kept && named_at>=now-NOTICE)
#else
#define REMEMBERED (kept && (named_at>=now-NOTICE || !MAYMOVE))
#endif
#ifdef NO_NOTICE
#define NAMED (open && 0<HORIZON)
#else
#define NAMED (open && 0<HORIZON+NOTICE)
#endif

#define OVER(mark, keeps) (done && done_at<HORIZON && (mark)>0 && !(keeps))
inline delete() { done=false; done_at=NEVER; deleted=true }

inline keep_list(date, named) {
  if :: FROM_THE_FUTURE(date) || OLDER(date) -> skip
     :: else ->
        heard_since = ((heard_at==NEVER || heard_at<now-NOTICE) -> now : heard_since);
        kept = (named || REMEMBERED);
        named_at = (named -> now : named_at);
        listed_before = date; heard_at = now;
        if :: MAYMOVE && NOT_LATER(date)>before -> before = NOT_LATER(date) :: else fi
  fi }

proctype Home() {
 end: do
  :: atomic { !sent[now] -> sent[now]=true; names[now]=NAMED }                     /* [sagas.operations.retention.broadcast] */
  :: atomic { open && runs>0 -> open=false }                                       /* [sagas.storage.timeline.record] the saga ends */
  :: atomic { now<LAST && (!sent[now] || arrived[now]) -> now++ }                  /* fault: none, a day passes */
  od }

proctype Service() {
  short day, date;
 end: do
  :: atomic { day=0; do :: day<now -> day++ :: sent[day] -> break od;              /* [sagas.operations.retention.purge] keeps a list */
       arrived[day]=true;
       date=day-KEPT_DAYS;
       keep_list(date, names[day]); day=0; date=0 }
  :: atomic { forged<FORGED -> forged++;                                           /* fault: a forged list leaves the saga out */
       date=HORIZON-1; do :: date<HORIZON+NOTICE+1 -> date++ :: break od;
       keep_list(date, false); date=0 }
#ifdef NO_MARK_FIRST
  :: atomic { OVER(MIN(now-KEPT_DAYS, HORIZON), NAMED) && heard_since<=now-NOTICE -> delete() } /* [sagas.operations.retention.purge] */
#else
  :: atomic { OVER(before, kept) -> delete() }                                     /* [sagas.operations.retention.purge] deletes */
#endif
  od }

proctype Step() {
 end: do
  :: atomic { (open || runs>0) && !done && !PURGED ->                              /* [sagas.storage.inbox.claim] */
       done=true; done_at=now; runs++ }
  :: atomic { (open || runs>0) && PURGED -> parked=true; broken=broken||open }     /* [sagas.storage.inbox.park] */
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* the row is deleted, and a late copy of the message parked */
#define SOUGHT ( deleted && parked )
#elif PROBE==2              /* an open saga is kept, though the watermark has passed it */
#define SOUGHT ( open && kept && before>0 )
#else
#define SOUGHT ( broken || runs>1 )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }

init { atomic { run Monitor(); run Home(); run Service(); run Step() } }           /* [sagas.lifecycle.start] */
