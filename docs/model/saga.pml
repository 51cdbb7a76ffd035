/* The saga of one order, for the model checker SPIN 6.5. README.md says what the model covers and what not.

   Every transition names in brackets the function that implements it; a test compares the names with the code. A transition
   marked "fault" is no function, but an event from outside. There are three services, each with its own inbox and outbox;
   none reads another's tables. A step in one transaction is atomic here, because its inbox row is unique. A charge and a
   refund are two transactions with calls of the gateway between them. Every worker may freeze or die at any point.

   MODE 0, safety. Faults are unlimited. A committed outbox row is delivered any number of times, at any time, in any order,
     or never. That covers any number of relays, lost and repeated messages, crashes before and after the mark, and a
     re-drive at any moment. Leases run out at any moment. The gateway's answer is lost any number of times. The error
     callback gives up any refusable step that was ever sent, whatever its state. The customer cancels at any moment.
   MODE 1, liveness. The broker loses and repeats messages. Faults are limited by the budgets below, and then end. The
     re-drive runs when nothing else can, so that a saga which is re-driven for ever without ending is found as a cycle.

   -DNO_... removes a protection, other switches put in its opposite. run.py lists them all, and `make model` runs them. */

#ifndef MODE
#define MODE 0
#endif
#ifndef WORKERS
#define WORKERS 2          /* processes of the payments worker */
#endif
#ifndef CRASHES            /* how often each fault may happen in MODE 1 */
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DUPS
#define DUPS 1
#endif
#ifndef ERRS
#define ERRS 1
#endif
#ifndef UNKS
#define UNKS 1
#endif
#ifndef TAKES
#define TAKES 1
#endif
#ifndef EARLY
#define EARLY 0            /* re-drives of a saga that is not stalled */
#endif

/* The rows of the outboxes. Each has its target in the plan (sagas.definition.plan.Plan); a test compares them. */
#define CREATED      1     /* order.created     -> payments.charge */
#define CANCELLING   2     /* order.cancelling  -> inventory.release; also order.unfulfillable: the pivot is refused */
#define FULFILLED    4     /* order.fulfilled   -> inventory.ship */
#define PROCESSED    8     /* payment.processed -> inventory.reserve */
#define DECLINED     16    /* payment.failed    -> orders.cancel; the gateway declined: nothing to undo here */
#define CHARGEFAILED 32    /* payment.failed    -> payments.refund; given up with unknown result: its own undo first */
#define REFUNDED     64    /* payment.refunded  -> orders.cancel */
#define RESERVED     128   /* stock.reserved    -> orders.fulfil */
#define UNAVAILABLE  256   /* stock.unavailable -> payments.refund; a refusal */
#define RESFAILED    512   /* stock.unavailable -> inventory.release; given up: its own undo first */
#define RELEASED     1024  /* stock.released    -> payments.refund */
#define SHIPPED      2048  /* stock.shipped     -> nothing: the timeline ends the saga */
#define TURNBACK (CANCELLING|DECLINED|CHARGEFAILED|REFUNDED|UNAVAILABLE|RESFAILED|RELEASED)
#define ORD (CREATED|CANCELLING|FULFILLED)

/* An inbox row. For a step in one transaction, an open row (a counted attempt) is equivalent to no row. */
#define NONE 0
#define STARTED 1          /* open: started or waiting */
#define DONE 2
#define REFUSED 3          /* refused, or barred: a tombstone */

/* An order's status. CANCELLINGS stands for any that the timeline or a cancel has set, except a terminal one. */
#define OPEN 0
#define CANCELLINGS 1
#define FULF 2
#define CANC 3

/* The gateway: a register for the charge's idempotency key. */
#define GNONE 0
#define GCAP 1
#define GDECL 2
#define GVOID 3
#define UNKNOWN 4          /* an answer only: no answer came */

short rows;                                                     /* all outbox rows that were ever committed */
byte fulfil, cancelstep, status; bool closed, asked;            /* orders; closed: ended_at */
byte charge, refund; byte charging, refunding;                  /* payments; workers between the two transactions */
byte reserve, release, ship; byte held, shipped;                /* inventory */
byte gw, captured, refunded;                                    /* the gateway, and its ledger */
bool forgotO, forgotP, forgotI;                                 /* the watermark of each service is above this saga */
#ifdef NO_FIND
bool mute;                                                      /* the gateway replays a 500 for this key */
#endif

#if MODE==0
#define HAVE(b) (rows & (b))
#define EAT(b)  skip
#define put(b)  rows = rows | (b)
#define MAY(spent,budget) true
#define PAYFOR(spent) skip
#define MAYASK true
#else
short pub, bus;                                                 /* marked as published; copies in the broker */
byte crashes, losses, dups, errs, unks, takes, early;           /* how much of each budget is used */
bool over;                                                      /* no more faults, whether the budgets are used up or not */
#define MAY(spent,budget) (!over && spent<budget)
#define PAYFOR(spent) spent++
#define MAYASK (!over)
#define HAVE(b) (bus & (b))
inline EAT(b) { if :: bus = bus & ~(b) :: MAY(dups,DUPS) -> dups++ fi }
inline put(b) { rows = rows | (b); pub = pub & ~(b) }
#endif

#ifdef NO_WATERMARK
#define KNOWN(forgot) true
#else
#define KNOWN(forgot) (!forgot)
#endif
#ifdef NO_INBOX
#define MAYRESERVE (reserve!=REFUSED && held<3)
#else
#define MAYRESERVE (KNOWN(forgotI) && reserve==NONE)
#endif
#ifdef NO_STATUS_CHECK
#define MAYFULFIL true
#else
#define MAYFULFIL (status==OPEN)
#endif

inline setstatus(s) { assert(status!=FULF && status!=CANC); status = s }

/* ------------------------------------------------------------------------------------------------------------- orders */
inline refuse_pivot() {
  if :: fulfil==NONE -> fulfil=REFUSED; if :: status==OPEN -> status=CANCELLINGS :: else fi; put(CANCELLING) :: else fi }

inline cancel_it() {
  if :: KNOWN(forgotO) && cancelstep==NONE -> cancelstep=DONE; setstatus(CANC); closed=true;
        if :: fulfil==NONE -> fulfil=REFUSED :: else fi
     :: else fi }

proctype Orders() {
 end: do
  :: atomic { HAVE(RESERVED) -> EAT(RESERVED);                                     /* [orders.steps.fulfil] */
       if :: KNOWN(forgotO) && fulfil==NONE ->
             if :: MAYFULFIL -> fulfil=DONE; setstatus(FULF); put(FULFILLED)
                :: else -> fulfil=REFUSED; put(CANCELLING) fi
          :: else fi }
  :: atomic { HAVE(DECLINED) -> EAT(DECLINED); cancel_it() }                       /* [orders.steps.cancel] */
  :: atomic { HAVE(REFUNDED) -> EAT(REFUNDED); cancel_it() }                       /* [orders.steps.cancel] */
  :: atomic { HAVE(SHIPPED) && (!closed || MODE==1) -> EAT(SHIPPED); closed=true } /* [sagas.storage.timeline.record] */
  :: atomic { (rows & TURNBACK) && status==OPEN -> status=CANCELLINGS }            /* [orders.status_projection.apply] */
  :: atomic { !asked && !forgotO && MAYASK -> asked=true;                          /* [orders.services.cancel_order] */
#ifdef NO_PIVOT_TOMBSTONE
       if :: status==OPEN -> status=CANCELLINGS; put(CANCELLING) :: else fi
#else
       refuse_pivot()      /* whatever status was read before: the first transaction that writes the pivot's row decides */
#endif
     }
  od }

/* ---------------------------------------------------------------------------------------------------------- inventory */
inline release_it() {
  if :: KNOWN(forgotI) && release==NONE -> release=DONE;
#ifndef NO_TOMBSTONE
        if :: reserve==NONE -> reserve=REFUSED :: else fi;
#endif
        if :: reserve==DONE -> assert(held>0); held-- :: else fi; put(RELEASED)
     :: else fi }

proctype Inventory() {
 end: do
  :: atomic { HAVE(PROCESSED) -> EAT(PROCESSED);                                   /* [inventory.steps.reserve] */
       if :: MAYRESERVE -> if :: reserve=DONE; held++; put(RESERVED) :: reserve=REFUSED; put(UNAVAILABLE) fi
          :: else fi }
  :: atomic { HAVE(CANCELLING) -> EAT(CANCELLING); release_it() }                  /* [inventory.steps.release] */
  :: atomic { HAVE(RESFAILED) -> EAT(RESFAILED); release_it() }                    /* [inventory.steps.release] */
  :: atomic { HAVE(FULFILLED) -> EAT(FULFILLED);                                   /* [inventory.steps.ship] */
       if :: KNOWN(forgotI) && ship==NONE -> ship=DONE; assert(held==1); held--; shipped++; put(SHIPPED)
          :: else fi }
  od }

/* ----------------------------------------------------------------------------------------------------------- payments */
inline prepare_refund() { refunding++; if :: charge==DONE -> res=GCAP; goto giveback :: else -> goto fence fi }

inline claim_refund() {
  if :: KNOWN(forgotP) && refund==NONE -> refund=STARTED;
#ifndef NO_TOMBSTONE
        if :: charge==NONE || charge==STARTED -> charge=REFUSED :: else fi;
#endif
        prepare_refund()
     :: else fi }

proctype Payments() {
  byte res;
 end: do
  :: atomic { HAVE(CREATED) -> EAT(CREATED);                                       /* [payments.steps.Charge.prepare] */
       if :: KNOWN(forgotP) && charge==NONE -> charge=STARTED; charging++; goto call :: else fi }
#ifndef NO_DUE
  :: atomic { charge==STARTED && charging==0 -> charging++; goto call }            /* [sagas.storage.inbox.claim_due] */
  :: atomic { refund==STARTED && refunding==0 -> prepare_refund() }                /* [sagas.storage.inbox.claim_due] */
#endif
  :: atomic { charge==STARTED && charging>0 && MAY(takes,TAKES) -> PAYFOR(takes);  /* [sagas.storage.inbox.claim] takes over */
       charging++; goto call }
  :: atomic { refund==STARTED && refunding>0 && MAY(takes,TAKES) -> PAYFOR(takes); /* [sagas.storage.inbox.claim] takes over */
       prepare_refund() }
  :: atomic { HAVE(CHARGEFAILED) -> EAT(CHARGEFAILED); claim_refund() }            /* [payments.steps.Refund.prepare] */
  :: atomic { HAVE(UNAVAILABLE) -> EAT(UNAVAILABLE); claim_refund() }              /* [payments.steps.Refund.prepare] */
  :: atomic { HAVE(RELEASED) -> EAT(RELEASED); claim_refund() }                    /* [payments.steps.Refund.prepare] */
  od;
 call: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); charging--; goto end }      /* fault: dies before the call */
  :: atomic { true ->                                                              /* [payments.steps.Charge.call] */
       if :: gw==GNONE -> if :: gw=GCAP; captured++; assert(refund!=DONE && status!=CANC) :: gw=GDECL fi
          :: gw!=GNONE -> skip
          :: gw==GNONE && MAY(unks,UNKS) -> skip fi;                               /* the request is lost */
#ifdef NO_FIND
       if :: gw!=GNONE && !mute -> res=gw
          :: mute -> res=UNKNOWN
          :: !mute && MAY(unks,UNKS) -> PAYFOR(unks); res=UNKNOWN; mute=(gw!=GNONE) fi }
#else
       if :: gw!=GNONE -> res=gw :: MAY(unks,UNKS) -> PAYFOR(unks); res=UNKNOWN fi }
#endif
  fi;
  if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); charging--; res=0; goto end } /* fault: dies after the call */
  :: atomic { charging>0 -> charging--;                                            /* [payments.steps.Charge.record] */
#ifdef NO_CAS
       if :: res!=UNKNOWN && res!=GVOID && charge!=DONE ->
#else
       if :: charge==STARTED ->                                                    /* else too late: see lock_open */
#endif
             if :: res==GCAP  -> charge=DONE; put(PROCESSED)
                :: res==GDECL -> charge=REFUSED; put(DECLINED)
                :: res==UNKNOWN -> skip                                            /* open, and due again */
                :: res==GVOID -> assert(false) fi                                  /* the code refuses; it never happens */
          :: else fi;
       res=0; goto end }
  fi;
 fence: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); refunding--; goto end }     /* fault: dies before the fence */
  :: atomic { true ->                                                              /* [payments.steps.Refund.call] voids */
#ifndef NO_FENCE
       if :: gw==GNONE -> gw=GVOID :: else fi;
#endif
       if :: res=gw :: MAY(unks,UNKS) -> PAYFOR(unks); refunding--; goto end fi }
  fi;
 giveback: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); refunding--; res=0; goto end } /* fault: dies before the refund */
  :: atomic { true ->                                                              /* [payments.steps.Refund.call] refunds */
#ifdef NO_ASK
       if :: charge==DONE && refunded==0 -> refunded++ :: else fi;
#else
       if :: res==GCAP && refunded==0 -> refunded++ :: else fi;                    /* once for its own key */
#endif
       assert(held==0);                                                            /* in reverse order */
       if :: skip :: MAY(unks,UNKS) -> PAYFOR(unks); refunding--; res=0; goto end fi }
  fi;
  if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); refunding--; res=0; goto end } /* fault: dies after the refund */
  :: atomic { refunding>0 -> refunding--;                                          /* [payments.steps.Refund.record] */
       if :: refund==STARTED -> refund=DONE; put(REFUNDED) :: else fi; res=0; goto end }
  fi }

/* -------------------------------------------- the error callback: late, repeated, or for a step that succeeded */
proctype Callback() {
 end: do
#ifdef CB_BLIND
  :: atomic { (rows & CREATED) && MAY(errs,ERRS) -> PAYFOR(errs);                  /* [sagas.execution.failures.record_failures] charge */
       if :: charge==NONE -> charge=REFUSED :: else fi; put(CHARGEFAILED) }
  :: atomic { (rows & PROCESSED) && MAY(errs,ERRS) -> PAYFOR(errs);                /* [sagas.execution.failures.record_failures] reserve */
       if :: reserve==NONE -> reserve=REFUSED :: else fi; put(RESFAILED) }
#else
  :: atomic { (rows & CREATED) && KNOWN(forgotP) && charge<=STARTED && MAY(errs,ERRS) -> /* [sagas.execution.failures.record_failures] charge */
       PAYFOR(errs); charge=REFUSED;
#ifdef NO_OWN_UNDO
       put(DECLINED)
#else
       put(CHARGEFAILED)
#endif
     }
  :: atomic { (rows & PROCESSED) && KNOWN(forgotI) && reserve==NONE && MAY(errs,ERRS) -> /* [sagas.execution.failures.record_failures] reserve */
       PAYFOR(errs); reserve=REFUSED; put(RESFAILED) }
#endif
  :: atomic { (rows & RESERVED) && KNOWN(forgotO) && fulfil==NONE && MAY(errs,ERRS) ->   /* [sagas.execution.failures.record_failures] fulfil */
       PAYFOR(errs); refuse_pivot() }
#ifdef CB_POSTPIVOT
  :: atomic { (rows & FULFILLED) && KNOWN(forgotI) && ship==NONE && MAY(errs,ERRS) ->    /* [sagas.execution.failures.record_failures] ship */
       PAYFOR(errs); ship=REFUSED; put(RESFAILED) }
#endif
#ifdef CB_UNDO
  :: atomic { (rows & (UNAVAILABLE|RELEASED|CHARGEFAILED)) && refund==NONE && MAY(errs,ERRS) -> /* [sagas.execution.failures.record_failures] refund */
       PAYFOR(errs); refund=REFUSED; put(DECLINED) }
#endif
  od }

#if MODE==0
/* The invariants of every state, also while faults are active. */
#define BAD ( captured>1 || refunded>captured || held>1 || shipped>1 \
  || (status==FULF && (refunded>0 || captured!=1)) \
  || (status==CANC && (captured!=refunded || held>0 || shipped>0)) \
  || (refund==DONE && captured!=refunded) || (release==DONE && held>0) || (shipped>0 && status!=FULF) \
  || (closed && status!=FULF && status!=CANC) || (closed && held>0) )
/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* fulfilled, shipped and over */
#define SOUGHT ( closed && status==FULF && shipped==1 && captured==1 )
#elif PROBE==2              /* cancelled, refunded and released */
#define SOUGHT ( closed && status==CANC && refunded==1 && release==DONE )
#elif PROBE==3              /* voided before it was charged */
#define SOUGHT ( closed && status==CANC && gw==GVOID )
#elif PROBE==4              /* refunded, though its charge was never recorded */
#define SOUGHT ( refund==DONE && refunded==1 && charge==REFUSED )
#else
#define SOUGHT BAD
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }

/* Each service purges an ended saga at a moment of its own; messages to it may still be under way. */
proctype Retention() {
 end: do
  :: atomic { closed && !forgotO -> forgotO=true; fulfil=NONE; cancelstep=NONE }   /* [sagas.operations.retention.purge] orders */
  :: atomic { closed && !forgotP -> forgotP=true; charge=NONE; refund=NONE }       /* [sagas.operations.retention.purge] payments */
  :: atomic { closed && !forgotI -> forgotI=true;                                  /* [sagas.operations.retention.purge] inventory */
       reserve=NONE; release=NONE; ship=NONE }
  od }

init { atomic {                                                                    /* [orders.services.place_order] */
  rows=CREATED; run Monitor(); run Orders(); run Inventory(); run Callback(); run Retention();
  run Payments(); run Payments();
#if WORKERS>2
  run Payments();
#endif
#if WORKERS>3
  run Payments();
#endif
} }
#else
/* Send the row, and mark it or not. */
inline relay1(b) { bus = bus | b; if :: pub = pub | b :: MAY(dups,DUPS) -> dups++ fi }

proctype Relays() {
 end: do
  :: atomic { (rows & ~pub & CREATED) -> relay1(CREATED) }                         /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & CANCELLING) -> relay1(CANCELLING) }                   /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & FULFILLED) -> relay1(FULFILLED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & PROCESSED) -> relay1(PROCESSED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & DECLINED) -> relay1(DECLINED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & CHARGEFAILED) -> relay1(CHARGEFAILED) }               /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & REFUNDED) -> relay1(REFUNDED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RESERVED) -> relay1(RESERVED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & UNAVAILABLE) -> relay1(UNAVAILABLE) }                 /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RESFAILED) -> relay1(RESFAILED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RELEASED) -> relay1(RELEASED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & SHIPPED) -> relay1(SHIPPED) }                         /* [sagas.delivery.publisher.publish] */
  :: atomic { !over -> over=true }                                                 /* fault: the faults end */
  :: atomic { bus!=0 && MAY(losses,LOSSES) -> losses++; bus=0 }                    /* fault: FLUSHALL */
  :: atomic { (bus&CREATED) && MAY(losses,LOSSES) -> losses++; bus=bus&~CREATED }  /* fault: one message lost */
  :: atomic { (bus&(PROCESSED|RELEASED)) && MAY(losses,LOSSES) -> losses++;        /* fault: one message lost */
       bus=bus&~(PROCESSED|RELEASED) }
#ifdef PURGE_TIP
  :: atomic { (rows&pub&(PROCESSED|RESERVED|RELEASED|REFUNDED)) && !closed ->      /* [sagas.operations.retention.purge] */
       rows = rows & ~(pub&(PROCESSED|RESERVED|RELEASED|REFUNDED)) }
#endif
  od }

#ifdef NO_RESCUE
#define NEEDED false
#elif defined(RESCUE_UNTIL_STATUS)
#define NEEDED (status!=FULF && status!=CANC)
#else
#define NEEDED (!closed)
#endif
#ifdef RESCUE_OLD_ROWS
#define REARMED (rows & (CREATED|PROCESSED|RESERVED|UNAVAILABLE|RESFAILED))
#elif defined(RESCUE_ORDERS_ONLY)
#define REARMED (rows & ORD)
#else
#define REARMED rows
#endif

proctype Rescue() {
 end: do
  :: atomic { timeout && NEEDED -> pub = pub & ~REARMED }                          /* [sagas.operations.redrive.republish] */
  :: atomic { MAY(early,EARLY) && NEEDED && (pub & REARMED) -> early++;            /* [sagas.operations.redrive.republish] too early */
       pub = pub & ~REARMED }
  od }

init { atomic {                                                                    /* [orders.services.place_order] */
  rows=CREATED; run Orders(); run Inventory(); run Callback(); run Relays(); run Rescue(); run Payments(); run Payments()
} }
ltl ends { <> closed }
#endif
