/* A parallel group of two branches and the step behind it, for the model checker SPIN 6.5. README.md says what the model
   covers and what not.

   The step before the group is done. One row of its outbox forks: the relay sends a message to each branch. Each branch is a
   step with its own inbox row in a service of its own. It is done, refuses, or is given up after an effect. The step behind
   the group, the join, is the pivot. Its service keeps an arrival row for each branch, commits it, and then reads all of them.
   Messages are lost and repeated, each process may die between two transactions, and the saga may be cancelled.

   Five things must hold in every state:
   - the join runs at most once, and only with the results of both branches, while neither is undone;
   - the step before the group is undone only after each branch is undone or barred for ever;
   - no step is undone twice;
   - once the saga is undone, no effect of any step is left, and none comes later;
   - a saga whose join is done is not undone.
   When nothing can happen any more, the saga has ended, although the re-drive comes only after a loss.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#ifndef LOSSES
#define LOSSES 1           /* messages lost */
#endif
#ifndef DUPS
#define DUPS 1             /* messages repeated */
#endif
#ifndef CRASHES
#define CRASHES 1          /* processes lost between two transactions */
#endif

/* An inbox row. `started` and `waiting` are one state: the step may have had an effect, and is not over. */
#define NONE 0
#define STARTED 1
#define DONE 2
#define REFUSED 3
#define OPEN(x) (x==NONE || x==STARTED)
#define BRANCHES 2

byte row[BRANCHES];                           /* the inbox row of each branch */
bool effect[BRANCHES]; bool first = true;     /* effects that are not undone: of each branch, of the step before the group */
byte join, runs;                              /* the inbox row of the join, and how often it ran */
bool arrived[BRANCHES];                       /* the arrival rows, in the service of the join */
byte counted;                                 /* arrivals counted from messages instead */
bool forked, leased;                          /* the row of the fork is due; the relay has sent a part of it */
bool msg[BRANCHES], part[BRANCHES];           /* under way: to each branch, and from each branch to the join */
bool kept[BRANCHES], back[3];                 /* outbox rows: of each done branch, and to each undo. Undo 2 is of the first step */
bool walk[3], undone[3], reading[BRANCHES], seen[BRANCHES]; /* messages to the undos; undo rows; a reader of the arrivals */
bool cancelled, aborted, maycancel;
byte losses, dups, crashes, redrives;
bool hasty, twice, late;                      /* a thing that must hold did not */

#define ENDED (join==DONE || aborted)
#ifdef NO_RESCUE
#define MAYREDRIVE (false)
#else
#define MAYREDRIVE (!ENDED && redrives<losses)
#endif

inline go_back(n) { back[n]=true; walk[n]=true }

/* The compensation of a refusal begins with the last undo of the whole group. */
inline compensate(n) {
#ifdef NO_WHOLE_GROUP
  if :: n==1 -> go_back(0) :: else -> go_back(2) fi
#else
  go_back(1)
#endif
}

inline run_join() { join=DONE; runs++; hasty = hasty || row[0]!=DONE || row[1]!=DONE || undone[0] || undone[1] || undone[2] }

#ifdef NO_TOMBSTONE
#define MAYBEGIN(n) (row[n]==NONE || row[n]==REFUSED && !effect[n])
#else
#define MAYBEGIN(n) (row[n]==NONE)
#endif
#ifdef NO_JOIN_INBOX
#define MAYJOIN (join!=REFUSED)
#else
#define MAYJOIN (join==NONE)
#endif
#ifdef NO_ROWS
#define COMPLETE (counted>=BRANCHES)
#elif defined(NO_ALL)
#define COMPLETE (arrived[0] || arrived[1])
#else
#define COMPLETE (arrived[0] && arrived[1])
#endif

/* The relay of the service before the group. */
proctype Fork() {
 end: do
  :: atomic { forked && !leased -> msg[0]=true; leased=true                           /* [sagas.delivery.publisher.publish] the first branch */
#ifdef NO_WHOLE_FORK
       ; forked=false
#endif
     }
  :: atomic { leased -> msg[1]=true; leased=false; forked=false }                     /* [sagas.delivery.publisher.publish] the second branch */
  :: atomic { leased && crashes<CRASHES -> crashes++; leased=false }                  /* fault: the relay dies between both */
  od }

proctype Branch(byte n) {
 end: do
  :: atomic { msg[n] && MAYBEGIN(n) -> msg[n]=false; row[n]=STARTED }                 /* [sagas.storage.inbox.claim] of a branch */
  :: atomic { msg[n] && !(MAYBEGIN(n)) -> msg[n]=false }                              /* [sagas.storage.inbox.claim] ignores a copy */
  :: atomic { row[n]==STARTED && !effect[n] -> late = late || undone[n]; effect[n]=true } /* [sagas.execution.external.call_outside] */
  :: atomic { row[n]==STARTED && effect[n] ->                                         /* [sagas.storage.inbox.record_results] done */
       row[n]=DONE; kept[n]=true; part[n]=true }
  :: atomic { row[n]==STARTED && !effect[n] -> row[n]=REFUSED; compensate(n) }        /* [sagas.definition.plan.Plan.after_refusal] */
  :: atomic { row[n]==STARTED && effect[n] -> row[n]=REFUSED; compensate(n) }         /* [sagas.definition.plan.Plan.after_giving_up] */
  :: atomic { msg[n] && losses<LOSSES -> losses++; msg[n]=false }                     /* fault: the message is lost */
  :: atomic { !msg[n] && row[n]!=NONE && dups<DUPS -> dups++; msg[n]=true }           /* fault: the message is repeated */
  od }

/* A worker of the join, with the message of one branch. */
proctype Join(byte n) {
 end: do
#ifdef NO_READ_AFTER
  :: atomic { part[n] && !reading[n] -> part[n]=false; reading[n]=true;               /* [sagas.storage.arrivals.arrived] reads first */
       seen[n]=arrived[1-n] }
  :: atomic { reading[n] -> reading[n]=false; arrived[n]=true;                        /* [sagas.storage.arrivals.record] and claims */
       if :: seen[n] && MAYJOIN -> run_join() :: else fi }
#else
  :: atomic { part[n] && !reading[n] -> reading[n]=true; arrived[n]=true; part[n]=false; /* [sagas.storage.arrivals.record] */
       counted = (counted<BRANCHES -> counted+1 : counted) }
  :: atomic { reading[n] ->                                                           /* [sagas.storage.arrivals.arrived] then the claim */
       reading[n]=false;
       if :: COMPLETE && MAYJOIN -> run_join() :: else fi }
#endif
  :: atomic { reading[n] && join==NONE && arrived[0] && arrived[1] ->                 /* [sagas.definition.plan.Plan.after_refusal] of the join */
       reading[n]=false; join=REFUSED; go_back(1) }
  :: atomic { reading[n] && crashes<CRASHES -> crashes++; reading[n]=false; part[n]=true } /* fault: the worker dies, its message comes again */
  :: atomic { part[n] && losses<LOSSES -> losses++; part[n]=false }                   /* fault: the message is lost */
  :: atomic { !part[n] && kept[n] && dups<DUPS -> dups++; part[n]=true }              /* fault: the message is repeated */
  od }

#ifdef NO_UNDO_INBOX
#define MAYUNDO(n) (true)
#else
#define MAYUNDO(n) (!undone[n])
#endif

/* The undos, last first: of the second branch, of the first one, of the step before the group. */
inline undo_branch(n, next) {
  twice = twice || undone[n]; undone[n]=true; effect[n]=false;
#ifndef NO_TOMBSTONE
  if :: OPEN(row[n]) -> row[n]=REFUSED :: else fi;
#endif
  go_back(next) }

proctype Back() {
 end: do
  :: atomic { walk[1] && MAYUNDO(1) -> walk[1]=false; undo_branch(1, 0) }             /* [sagas.execution.compensation.bar_action] second branch */
  :: atomic { walk[0] && MAYUNDO(0) -> walk[0]=false; undo_branch(0, 2) }             /* [sagas.execution.compensation.bar_action] first branch */
  :: atomic { walk[2] && MAYUNDO(2) -> walk[2]=false;                                 /* [sagas.execution.compensation.bar_action] before the group */
       hasty = hasty || OPEN(row[0]) || OPEN(row[1]) || effect[0] || effect[1];
       twice = twice || undone[2]; undone[2]=true; first=false; aborted=true }
  :: atomic { walk[1] && !(MAYUNDO(1)) -> walk[1]=false }                             /* [sagas.storage.inbox.claim] ignores a copy */
  :: atomic { walk[0] && !(MAYUNDO(0)) -> walk[0]=false }                             /* [sagas.storage.inbox.claim] ignores a copy */
  :: atomic { walk[2] && !(MAYUNDO(2)) -> walk[2]=false }                             /* [sagas.storage.inbox.claim] ignores a copy */
  :: atomic { walk[0] && losses<LOSSES -> losses++; walk[0]=false }                   /* fault: the message is lost */
  :: atomic { walk[1] && losses<LOSSES -> losses++; walk[1]=false }                   /* fault: the message is lost */
  :: atomic { maycancel && !cancelled && join==NONE ->                                /* [sagas.lifecycle.cancel_before_pivot] */
       cancelled=true; go_back(1);
#ifndef NO_PIVOT_TOMBSTONE
       join=REFUSED
#endif
     }
  :: atomic { timeout && MAYREDRIVE -> redrives++;                                    /* [sagas.operations.redrive.republish] */
       forked=true; part[0]=part[0]||kept[0]; part[1]=part[1]||kept[1];
       walk[0]=walk[0]||back[0]; walk[1]=walk[1]||back[1]; walk[2]=walk[2]||back[2] }
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* both branches are done, and the join runs */
#define SOUGHT ( join==DONE && arrived[0] && arrived[1] )
#elif PROBE==2              /* both branches refuse, and one compensation follows */
#define SOUGHT ( aborted && row[0]==REFUSED && row[1]==REFUSED && !cancelled && runs==0 && undone[1] && back[0] )
#elif PROBE==3              /* a refusal overtakes the message of the other branch, which never begins */
#define SOUGHT ( aborted && !cancelled && dups==0 && msg[1] && row[1]==REFUSED && row[0]==REFUSED )
#elif PROBE==4              /* a cancel overtakes the second arrival */
#define SOUGHT ( aborted && cancelled && arrived[0] && row[1]==DONE && join==REFUSED )
#elif PROBE==5              /* a loss is made good, and the join runs */
#define SOUGHT ( join==DONE && losses>0 && redrives>0 )
#else
#define SOUGHT ( runs>1 || hasty || twice || late || (aborted && (effect[0] || effect[1] || first)) || (join==DONE && undone[2]) )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }
#ifndef PROBE
proctype End() { atomic { timeout -> assert(ENDED || MAYREDRIVE) } }
#endif

init { atomic {
  forked=true; if :: maycancel=true :: skip fi;
  run Monitor(); run Fork(); run Branch(0); run Branch(1); run Join(0); run Join(1); run Back();
#ifndef PROBE
  run End();
#endif
} }
