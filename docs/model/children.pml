/* One child saga of one step, for the model checker SPIN 6.5. README.md says what the model covers and what not.

   The step of the parent starts the child and waits for its end. The message of the step, the message that the relay
   sends again from its row, and the message of its undo are lost and repeated. The child may refuse by itself, before
   its pivot. The parent may be cancelled at any time before its step is over, and then its undo comes.

   Five things must hold in every state:
   - at the most one child starts, and none after the undo of its step has begun;
   - the parent goes on once, and only with the end that the child had;
   - the undo is over only when no child runs, and a child that is done is undone;
   - a step, or an undo, that waits for a child that has ended is due: it does not sleep;
   - a child that passed its pivot is not cancelled, and a cancelled one does not pass it.
   When nothing can happen any more, the step is over, and so is an undo that has come.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#ifndef LOSSES
#define LOSSES 1           /* messages lost */
#endif
#ifndef DUPS
#define DUPS 2             /* messages repeated */
#endif
#define WAKES 1            /* runs of the open step that an operator asks for */

/* The inbox rows of the step and of its undo. */
#define NONE 0
#define WAITING 1
#define DONE 2
#define REFUSED 3

/* The child, and the two ends that it may have. */
#define RUNS 1
#define PIVOTED 2
#define BACK 3
#define ENDED 4
#define CANCELLED 5
#define OVER(c) ((c)==ENDED || (c)==CANCELLED)

byte row, undorow, child, sig;                /* sig: the end of the child, as the row of the step has it */
bool due, undodue;                            /* the open row is sent by the relay */
bool msg, again, undo;                        /* under way: the message, the message from the row, the message to the undo */
bool undone, maycancel, starting;
byte starts, events, losses, dups, wakes, redrives, seen; bool reading;
bool wrong, late;                             /* the parent went on with another end; a child started after the undo began */

#define ORPHAN (undorow==DONE && (child==RUNS || child==PIVOTED || child==BACK || (child==ENDED && !undone)))
#define SLEEPS ((row==WAITING && OVER(child) && !due) || (undorow==WAITING && OVER(child) && !undodue))

inline begin() { starts++; late = late || undorow!=NONE;
  if :: child==NONE -> child=RUNS :: else fi }

inline finish(found) { events++;
  wrong = wrong || found!=child;
  if :: found==ENDED -> row=DONE :: else -> row=REFUSED fi; due=false }

/* One transaction: the claim of the row, then the start of the child, or its end. */
inline attempt(found) {
  if
  :: found!=NONE -> finish(found)
#ifdef NO_ID
  :: found==NONE -> row=WAITING; due=false; begin()
#elif defined(NO_STARTING_TRANSACTION)
  :: found==NONE -> row=WAITING; due=false;
     if :: child==NONE && !starts -> starting=true :: else fi
#else
  :: found==NONE -> row=WAITING; due=false;
     if :: child==NONE -> begin() :: else fi
#endif
  fi }

#define MAYRUN (row==NONE || (row==WAITING && due))

proctype Step() {
 end: do
#ifdef NO_ONE_ROW
  :: atomic { msg && MAYRUN && !reading -> msg=false; reading=true; seen=sig }        /* [sagas.children.go_on] reads before the claim */
  :: atomic { again && MAYRUN && !reading -> again=false; reading=true; seen=sig }    /* [sagas.children.go_on] reads before the claim */
  :: atomic { reading && (row==NONE || row==WAITING) -> reading=false; attempt(seen); seen=0 }   /* [sagas.storage.inbox.claim] */
  :: atomic { reading && !(row==NONE || row==WAITING) -> reading=false; seen=0 }      /* [sagas.storage.inbox.claim] finds it closed */
#else
  :: atomic { msg && MAYRUN -> msg=false; attempt(sig) }                              /* [sagas.children.go_on] after the claim */
  :: atomic { again && MAYRUN -> again=false; attempt(sig) }                          /* [sagas.children.go_on] from the row */
#endif
  :: atomic { msg && !(MAYRUN) -> msg=false }                                         /* [sagas.storage.inbox.claim] ignores it */
  :: atomic { again && !(MAYRUN) -> again=false }                                     /* [sagas.storage.inbox.claim] ignores the row's */
  :: atomic { starting -> starting=false; begin() }                                   /* [sagas.tracked.start] in a transaction of its own */
  :: atomic { row==WAITING && due && !again -> again=true }                           /* [sagas.delivery.relay.flush] */
  :: atomic { row==WAITING && !due && wakes<WAKES -> wakes++; due=true }              /* [sagas.queries.wake_up] by an operator */
  :: atomic { msg && losses<LOSSES -> losses++; msg=false }                           /* fault: the message is lost */
  :: atomic { again && losses<LOSSES -> losses++; again=false }                       /* fault: the message from the row is lost */
  :: atomic { undo && losses<LOSSES -> losses++; undo=false }                         /* fault: the message to the undo is lost */
  :: atomic { !msg && dups<DUPS -> dups++; msg=true }                                 /* fault: the message is repeated */
  :: atomic { !undo && maycancel && undorow!=NONE && dups<DUPS -> dups++; undo=true } /* fault: the undo's message is repeated */
  :: atomic { !msg && redrives<losses && row==NONE -> redrives++; msg=true }          /* [sagas.operations.redrive.republish] */
  od }

/* The transaction that records the end of the child at its home, in the database of the step. */
#ifdef NO_END_TRANSACTION
#define tell(end) skip
#else
inline tell(end) {
#ifdef NO_SIGNAL_AFTER_BAR
  if :: row==WAITING && sig==0 -> sig=end; due=true :: else fi;
#else
  if :: row!=NONE && sig==0 -> sig=end :: else fi;
  if :: row==WAITING -> due=true :: else fi;
#endif
#ifndef NO_WAKE_OF_UNDO
  if :: undorow==WAITING -> undodue=true :: else fi
#endif
}
#endif

proctype Child() {
 end: do
  :: atomic { child==RUNS -> child=PIVOTED }                                          /* [sagas.execution.settlement.settle] the pivot */
  :: atomic { child==RUNS -> child=BACK }                                             /* [sagas.execution.settlement.settle] it refuses */
  :: atomic { child==PIVOTED -> child=ENDED; tell(ENDED) }                            /* [sagas.storage.children.note_ends] done */
  :: atomic { child==BACK -> child=CANCELLED; tell(CANCELLED) }                       /* [sagas.storage.children.note_ends] cancelled */
  od }

inline decide() {
  if
  :: sig==ENDED ->
#ifndef NO_UNDO_OF_ENDED
     undone=true;
#endif
     undorow=DONE; undodue=false
  :: sig==CANCELLED || (sig==0 && child==NONE) -> undorow=DONE; undodue=false
  :: sig==0 && child!=NONE ->
     if :: child==RUNS -> child=BACK :: else fi;      /* the pivot's row decides */
#ifdef NO_PATIENCE
     undorow=DONE; undodue=false
#else
     undorow=WAITING; undodue=false
#endif
  fi }

proctype Cancel() {
 end: do
  :: atomic { maycancel && undorow==NONE && !undo && row!=REFUSED -> undo=true }      /* [sagas.lifecycle.cancel_before_pivot] */
  :: atomic { undo && (undorow==NONE || (undorow==WAITING && undodue)) -> undo=false; /* [sagas.children.close] after bar_action */
#ifndef NO_BAR
       if :: row==NONE || row==WAITING -> row=REFUSED; due=false :: else fi;
#endif
       decide() }
  :: atomic { undo && !(undorow==NONE || (undorow==WAITING && undodue)) -> undo=false }  /* [sagas.storage.inbox.claim] ignores it */
  :: atomic { undorow==WAITING && undodue && !undo -> undo=true }                     /* [sagas.delivery.relay.flush] of the undo */
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* the child is done, and the parent goes on */
#define SOUGHT ( row==DONE && undorow==NONE )
#elif PROBE==2              /* a cancel overtakes the end of the child, which is then undone */
#define SOUGHT ( row==REFUSED && events==0 && undorow==DONE && child==ENDED )
#elif PROBE==3              /* the cancel comes before the child's pivot */
#define SOUGHT ( undorow==DONE && child==CANCELLED && events==0 )
#elif PROBE==4              /* the undo comes before the message of the step: no child ever starts */
#define SOUGHT ( undorow==DONE && child==NONE )
#else
#define SOUGHT ( starts>1 || events>1 || wrong || late || ORPHAN || SLEEPS )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }
#ifndef PROBE
proctype End() { atomic { timeout -> assert((row==DONE || row==REFUSED) && undorow!=WAITING && (!OVER(child) || starts==1)) } }
#endif

init { atomic {                                                                       /* [sagas.delivery.publisher.publish] */
  msg=true; if :: maycancel=true :: skip fi;
  run Monitor(); run Step(); run Child(); run Cancel();
#ifndef PROBE
  run End();
#endif
} }
