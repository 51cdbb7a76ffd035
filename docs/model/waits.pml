/* One wait for a signal, for the model checker SPIN 6.5. README.md says what the model covers and what not.

   Two senders answer the wait, each up to twice: early, while the saga waits, or after the expiry. The message of the
   wait is lost and repeated, and so is the message that the relay sends again. The saga may be cancelled, in the
   database of the wait or in another one, from which only the undo of the wait comes.

   Five things must hold in every state:
   - the step that follows gets at the most one event, and it is that of the first signal that was accepted;
   - a wait that has its message and a signal is due: it does not sleep until its expiry;
   - a signal that was accepted in time is not overtaken by the expiry;
   - no signal is accepted after the expiry, after the end of the wait, or after a cancel has reached it;
   - a wait that is closed lets the saga go on no more.
   When nothing can happen any more, the wait is over.

   -DNO_... removes a protection. run.py lists them all, and `make model` runs them. */

#ifndef LOSSES
#define LOSSES 1           /* messages lost */
#endif
#ifndef DUPS
#define DUPS 2             /* messages repeated */
#endif
#define TIMES 2            /* signals of each sender */

/* The inbox row of the wait. */
#define NONE 0
#define WAITING 1
#define DONE 2
#define REFUSED 3
#define OPEN (row==NONE || row==WAITING)

byte row, sig, first;                         /* the signal in the row, and the first one that was accepted; 0 is none */
bool hasmsg, due, began, expired;             /* the row has its message; it may be taken over; its expiry is set, and has passed */
bool msg, again, undo;                        /* under way: the message, the message from the row, the message to the undo */
bool cancelled, closed;                       /* a cancel, or the undo, has reached the wait */
byte events, event, losses, redrives, dups, seen; bool reading;
bool maycancel; bool overtaken, late, reopened;             /* the saga may be cancelled; a thing that must hold did not */

#define SLEEPS (row==WAITING && hasmsg && sig!=0 && !due)

inline finish(n) { row=DONE; due=false; events++; event=n; reopened = reopened || closed || cancelled }

/* One transaction: the claim, then the handler. */
inline attempt(found) {
  hasmsg=true;
  if :: found==0 -> began=true :: else fi;
  if
#ifdef NO_SIGNAL_FIRST
  :: began && expired -> row=REFUSED; due=false; overtaken = overtaken || found!=0
  :: !(began && expired) && found!=0 -> finish(found)
  :: !(began && expired) && found==0 -> row=WAITING; due=false
#else
  :: found!=0 -> finish(found)
  :: found==0 && expired -> row=REFUSED; due=false
  :: found==0 && !expired -> row=WAITING; due=false
#endif
  fi }

#ifdef NO_INBOX
#define MAYRUN (row!=REFUSED)
#elif defined(NO_TAKE_OVER)
#define MAYRUN (row==NONE || (row==WAITING && hasmsg && due))
#else
#define MAYRUN (row==NONE || (row==WAITING && (due || !hasmsg)))
#endif

proctype Step() {
 end: do
#ifdef NO_ONE_ROW
  :: atomic { msg && MAYRUN && !reading -> msg=false; reading=true; seen=sig }        /* [sagas.storage.signals.begin] reads elsewhere */
  :: atomic { reading && OPEN -> reading=false; attempt(seen); seen=0 }                   /* [sagas.storage.inbox.claim] */
  :: atomic { reading && !OPEN -> reading=false; seen=0 }                             /* [sagas.storage.inbox.claim] finds it closed */
#else
  :: atomic { msg && MAYRUN -> msg=false; attempt(sig) }                                  /* [sagas.storage.signals.begin] after the claim */
#endif
  :: atomic { msg && !(MAYRUN) -> msg=false }                                         /* [sagas.storage.inbox.claim] ignores it */
  :: atomic { row==WAITING && hasmsg && due && !again -> again=true }                 /* [sagas.delivery.relay.flush] */
  :: atomic { again && row==WAITING && due -> again=false; attempt(sig) }                 /* [sagas.storage.signals.begin] from the row */
  :: atomic { again && !(row==WAITING && due) -> again=false }                        /* [sagas.storage.inbox.claim] ignores the row's */
  :: atomic { began && !expired && row==WAITING -> expired=true; due=true }           /* fault: none, the time of the wait is over */
  :: atomic { msg && losses<LOSSES -> losses++; msg=false }                           /* fault: the message is lost */
  :: atomic { again && losses<LOSSES -> losses++; again=false }                       /* fault: the message from the row is lost */
  :: atomic { !msg && dups<DUPS && !undo -> dups++; msg=true }                        /* fault: the message is repeated */
  :: atomic { !msg && redrives<losses && !hasmsg && OPEN -> redrives++; msg=true }    /* [sagas.operations.redrive.republish] */
  od }

#ifdef NO_EXPIRY_CHECK
#define INTIME (true)
#else
#define INTIME (!expired)
#endif
#ifdef NO_FINAL_CHECK
#define TAKES (true)
#else
#define TAKES (OPEN)
#endif
#ifdef NO_FIRST
#define ISFIRST (true)
#else
#define ISFIRST (sig==0)
#endif

proctype Sender(byte n) {
  byte sent;
 end: do
  :: atomic { sent<TIMES && TAKES && ISFIRST && INTIME ->                             /* [sagas.storage.signals.add] */
       sent++; sig=n;
       late = late || expired || !OPEN || cancelled || closed;
       if :: first==0 -> first=n :: else fi;
       if
       :: row==NONE -> row=WAITING
#ifndef NO_WAKE
       :: row==WAITING && hasmsg -> due=true
#endif
       :: else
       fi }
  :: atomic { sent<TIMES && !(TAKES && ISFIRST && INTIME) -> sent++ }                 /* [sagas.storage.signals.find] repeated, or too late */
  od }

proctype Cancel() {
 end: do
  :: atomic { maycancel && !undo && !closed && row!=REFUSED ->                        /* [sagas.lifecycle.cancel_before_pivot] here */
       cancelled=true; undo=true;
#ifndef NO_CLOSE
       if :: OPEN -> row=REFUSED; due=false :: else fi
#endif
     }
  :: atomic { maycancel && !undo && !closed && row!=REFUSED -> undo=true }            /* [sagas.lifecycle.cancel_before_pivot] elsewhere */
  :: atomic { undo && !closed ->                                                      /* [sagas.execution.compensation.bar_action] */
       closed=true;
#ifndef NO_BAR
       if :: OPEN -> row=REFUSED; due=false :: else fi
#endif
     }
  od }

/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* an early signal: the saga never waits */
#define SOUGHT ( row==DONE && !began )
#elif PROBE==2              /* it waits, and a signal in time is seen after the expiry */
#define SOUGHT ( row==DONE && expired )
#elif PROBE==3              /* it expires */
#define SOUGHT ( row==REFUSED && expired && !undo )
#elif PROBE==4              /* a cancel overtakes a signal */
#define SOUGHT ( row==REFUSED && first!=0 && closed )
#else
#define SOUGHT ( events>1 || (events==1 && event!=first) || SLEEPS || overtaken || late || reopened )
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }
#ifndef PROBE
proctype End() { atomic { timeout -> assert(row==DONE || row==REFUSED) } }
#endif

init { atomic {                                                                       /* [sagas.delivery.publisher.publish] */
  msg=true; if :: maycancel=true :: skip fi;
  run Monitor(); run Step(); run Sender(1); run Sender(2); run Cancel();
#ifndef PROBE
  run End();
#endif
} }
