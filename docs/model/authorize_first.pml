/* The saga of one order that is authorized first, for the model checker SPIN 6.5. Read saga.pml first: services, messages,
   faults and modes are the same, and this comment says what differs. README.md says what the model covers and what not.

   The pivot is the capture, an external step of payments. orders cannot bar it in a transaction of its own, so a customer's
   cancel is a message to payments. payments bars a capture that has not begun, and waits for one that has. If the capture is
   done, the order goes from cancelling to fulfilled. The gateway may let an authorization expire at any time. */

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

/* The rows of the outboxes. Each has its target in the plan (sagas.definition.plan.Plan); a test compares them. */
#define CREATED      1     /* order.created      -> payments.authorize */
#define ASKED        2     /* order.cancelling   -> payments.withhold; the customer's cancel */
#define FULFILLED    4     /* order.fulfilled    -> inventory.ship */
#define AUTHORIZED   8     /* payment.authorized -> inventory.reserve */
#define DECLINED     16    /* payment.failed     -> orders.cancel; the gateway declined to authorize */
#define AUTHFAILED   32    /* payment.failed     -> payments.void; given up with unknown result: its own undo first */
#define VOIDED       64    /* payment.voided     -> orders.cancel */
#define RESERVED     128   /* stock.reserved     -> payments.capture */
#define UNAVAILABLE  256   /* stock.unavailable  -> payments.void; a refusal */
#define RESFAILED    512   /* stock.unavailable  -> inventory.release; given up: its own undo first */
#define RELEASED     1024  /* stock.released     -> payments.void */
#define SHIPPED      2048  /* stock.shipped      -> nothing: the timeline ends the saga */
#define PROCESSED    4096  /* payment.processed  -> orders.fulfil */
#define LAPSED       8192  /* payment.failed     -> inventory.release; the gateway declined to capture */
#define WITHHELD     16384 /* payment.withheld   -> inventory.release; the cancel came in time */
#define EXPIRING     32768 /* payment.expiring   -> inventory.release; before the authorization expires */
#define TURNBACK (ASKED|DECLINED|AUTHFAILED|VOIDED|UNAVAILABLE|RESFAILED|RELEASED|LAPSED|WITHHELD|EXPIRING)

/* An inbox row. For a step in one transaction, an open row (a counted attempt) is equivalent to no row. */
#define NONE 0
#define STARTED 1          /* open: started or waiting */
#define DONE 2
#define REFUSED 3          /* refused, or barred: a tombstone */

/* An order's status. */
#define OPEN 0
#define CANCELLINGS 1
#define FULF 2
#define CANC 3

/* The gateway: a register for the key of the authorization. */
#define GNONE 0
#define GAUTH 1
#define GCAP 2
#define GDECL 3
#define GVOID 4
#define UNKNOWN 5          /* an answer only: no answer came */

int rows;                                                       /* all outbox rows that were ever committed */
byte fulfil, cancelstep, status; bool closed, asked;            /* orders; closed: ended_at */
byte authorize, capture, undo, withhold;                        /* payments */
byte authorizing, capturing, undoing;                           /* its workers between the two transactions of each */
byte reserve, release, ship; byte held, shipped;                /* inventory */
byte gw, captured, refunded;                                    /* the gateway, and its ledger */
bool forgotO, forgotP, forgotI;                                 /* the watermark of each service is above this saga */

#if MODE==0
#define HAVE(b) (rows & (b))
#define EAT(b)  skip
#define put(b)  rows = rows | (b)
#define MAY(spent,budget) true
#define PAYFOR(spent) skip
#define MAYASK true
#define MAYEXPIRE true
#else
int pub, bus;                                                   /* marked as published; copies in the broker */
byte crashes, losses, dups, errs, unks, takes;                  /* how much of each budget is used */
bool over;                                                      /* no more faults, whether the budgets are used up or not */
#define MAY(spent,budget) (!over && spent<budget)
#define PAYFOR(spent) spent++
#define MAYASK (!over)
#define MAYEXPIRE (!over)
#define HAVE(b) (bus & (b))
inline EAT(b) { if :: bus = bus & ~(b) :: MAY(dups,DUPS) -> dups++ fi }
inline put(b) { rows = rows | (b); pub = pub & ~(b) }
#endif

#define KNOWN(forgot) (!forgot)

inline setstatus(s) { assert(status!=FULF && status!=CANC); status = s }

/* ------------------------------------------------------------------------------------------------------------- orders */
inline cancel_it() {
  if :: KNOWN(forgotO) && cancelstep==NONE -> cancelstep=DONE; setstatus(CANC); closed=true :: else fi }

#ifdef NO_LATE_FULFIL
#define MAYFULFIL (status==OPEN)
#else
#define MAYFULFIL true
#endif

proctype Orders() {
 end: do
  :: atomic { HAVE(PROCESSED) -> EAT(PROCESSED);                                   /* [orders.steps.fulfil] */
       if :: KNOWN(forgotO) && fulfil==NONE && MAYFULFIL -> fulfil=DONE; setstatus(FULF); put(FULFILLED)
          :: else fi }
  :: atomic { HAVE(DECLINED) -> EAT(DECLINED); cancel_it() }                       /* [orders.steps.cancel] */
  :: atomic { HAVE(VOIDED) -> EAT(VOIDED); cancel_it() }                           /* [orders.steps.cancel] */
  :: atomic { HAVE(SHIPPED) && (!closed || MODE==1) -> EAT(SHIPPED); closed=true } /* [sagas.storage.timeline.record] */
  :: atomic { (rows & TURNBACK) && status==OPEN -> status=CANCELLINGS }            /* [orders.status_projection.apply] */
  :: atomic { !asked && !forgotO && MAYASK -> asked=true;                          /* [orders.services.cancel_order] */
       if :: status==OPEN -> status=CANCELLINGS;
#ifdef NO_REQUEST
             put(WITHHELD)
#else
             put(ASKED)
#endif
          :: else fi }
  od }

/* ---------------------------------------------------------------------------------------------------------- inventory */
inline release_it() {
  if :: KNOWN(forgotI) && release==NONE -> release=DONE;
        if :: reserve==NONE -> reserve=REFUSED :: else fi;
        if :: reserve==DONE -> assert(held>0); held-- :: else fi; put(RELEASED)
     :: else fi }

proctype Inventory() {
 end: do
  :: atomic { HAVE(AUTHORIZED) -> EAT(AUTHORIZED);                                 /* [inventory.steps.reserve] */
       if :: KNOWN(forgotI) && reserve==NONE ->
             if :: reserve=DONE; held++; put(RESERVED) :: reserve=REFUSED; put(UNAVAILABLE) fi
          :: else fi }
  :: atomic { HAVE(WITHHELD) -> EAT(WITHHELD); release_it() }                      /* [inventory.steps.release] */
  :: atomic { HAVE(LAPSED) -> EAT(LAPSED); release_it() }                          /* [inventory.steps.release] */
  :: atomic { HAVE(EXPIRING) -> EAT(EXPIRING); release_it() }                      /* [inventory.steps.release] */
  :: atomic { HAVE(RESFAILED) -> EAT(RESFAILED); release_it() }                    /* [inventory.steps.release] */
  :: atomic { HAVE(FULFILLED) -> EAT(FULFILLED);                                   /* [inventory.steps.ship] */
       if :: KNOWN(forgotI) && ship==NONE -> ship=DONE; assert(held==1); held--; shipped++; put(SHIPPED)
          :: else fi }
  od }

/* ----------------------------------------------------------------------------------------------------------- payments */
inline prepare_undo() { undoing++; if :: capture==DONE -> res=GCAP; goto giveback :: else -> goto fence fi }

inline claim_undo() {
  if :: KNOWN(forgotP) && undo==NONE -> undo=STARTED;
        if :: authorize==NONE || authorize==STARTED -> authorize=REFUSED :: else fi;
        prepare_undo()
     :: else fi }

/* A capture that has begun decides, or a bar before it. A request that comes in between waits for the capture. */
#ifdef NO_PATIENCE
#define DECIDED true
#else
#define DECIDED (capture!=STARTED)
#endif

inline withhold_it() {
  if :: DECIDED -> withhold=DONE;
#ifdef NO_BAR
        if :: capture!=DONE -> put(WITHHELD) :: else fi
#else
        if :: capture!=DONE -> capture=REFUSED; put(WITHHELD) :: else fi
#endif
     :: else -> withhold=STARTED fi }

proctype Payments() {
  byte res;
 end: do
  :: atomic { HAVE(CREATED) -> EAT(CREATED);                                       /* [payments.steps.Authorize.prepare] */
       if :: KNOWN(forgotP) && authorize==NONE -> authorize=STARTED; authorizing++; goto ask :: else fi }
  :: atomic { authorize==STARTED && authorizing==0 -> authorizing++; goto ask }    /* [sagas.storage.inbox.claim_due] */
  :: atomic { authorize==STARTED && authorizing>0 && MAY(takes,TAKES) -> PAYFOR(takes); /* [sagas.storage.inbox.claim] takes over */
       authorizing++; goto ask }
  :: atomic { HAVE(RESERVED) -> EAT(RESERVED);                                     /* [payments.steps.Capture.prepare] */
       if :: KNOWN(forgotP) && capture==NONE -> capture=STARTED; capturing++; goto take :: else fi }
  :: atomic { capture==STARTED && capturing==0 -> capturing++; goto take }         /* [sagas.storage.inbox.claim_due] */
  :: atomic { capture==STARTED && capturing>0 && MAY(takes,TAKES) -> PAYFOR(takes); /* [sagas.storage.inbox.claim] takes over */
       capturing++; goto take }
  :: atomic { HAVE(AUTHFAILED) -> EAT(AUTHFAILED); claim_undo() }                  /* [payments.steps.Void.prepare] */
  :: atomic { HAVE(UNAVAILABLE) -> EAT(UNAVAILABLE); claim_undo() }                /* [payments.steps.Void.prepare] */
  :: atomic { HAVE(RELEASED) -> EAT(RELEASED); claim_undo() }                      /* [payments.steps.Void.prepare] */
  :: atomic { undo==STARTED && undoing==0 -> prepare_undo() }                      /* [sagas.storage.inbox.claim_due] */
  :: atomic { undo==STARTED && undoing>0 && MAY(takes,TAKES) -> PAYFOR(takes);     /* [sagas.storage.inbox.claim] takes over */
       prepare_undo() }
  :: atomic { HAVE(ASKED) -> EAT(ASKED);                                           /* [payments.steps.withhold] */
       if :: KNOWN(forgotP) && withhold==NONE -> withhold_it() :: else fi }
  :: atomic { withhold==STARTED && DECIDED -> withhold_it() }                      /* [sagas.storage.inbox.claim_due] */
  od;
 ask: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); authorizing--; goto end }   /* fault: dies before the call */
  :: atomic { true ->                                                              /* [payments.steps.Authorize.call] */
       if :: gw==GNONE -> if :: gw=GAUTH; assert(undo!=DONE && status!=CANC) :: gw=GDECL fi
          :: gw!=GNONE -> skip
          :: gw==GNONE && MAY(unks,UNKS) -> skip fi;                               /* the request is lost */
       if :: gw!=GNONE -> res=gw :: MAY(unks,UNKS) -> PAYFOR(unks); res=UNKNOWN fi }
  fi;
  if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); authorizing--; res=0; goto end } /* fault: dies after the call */
  :: atomic { authorizing>0 -> authorizing--;                                      /* [payments.steps.Authorize.record] */
       if :: authorize==STARTED ->                                                 /* else too late: see lock_open */
             if :: res==GAUTH || res==GCAP -> authorize=DONE; put(AUTHORIZED)
                :: res==GDECL || res==GVOID -> authorize=REFUSED; put(DECLINED)
                :: res==UNKNOWN -> skip fi                                         /* open, and due again */
          :: else fi;
       res=0; goto end }
  fi;
 take: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); capturing--; goto end }     /* fault: dies before the call */
  :: atomic { true ->                                                              /* [payments.steps.Capture.call] */
       if :: gw==GAUTH -> if :: gw=GCAP; captured++; assert(held==1 && undo==NONE) /* for stock that is there */
                             :: gw=GVOID fi                                        /* declined, and barred for ever */
          :: gw!=GAUTH -> skip
          :: gw==GAUTH && MAY(unks,UNKS) -> skip fi;                               /* the request is lost */
       if :: gw!=GAUTH -> res=gw :: MAY(unks,UNKS) -> PAYFOR(unks); res=UNKNOWN fi }
  fi;
  if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); capturing--; res=0; goto end } /* fault: dies after the call */
  :: atomic { capturing>0 -> capturing--;                                          /* [payments.steps.Capture.record] */
       if :: capture==STARTED ->                                                   /* else too late: see lock_open */
             if :: res==GCAP -> capture=DONE; put(PROCESSED)
                :: res==GVOID || res==GDECL -> capture=REFUSED; put(LAPSED)
                :: res==UNKNOWN -> skip fi                                         /* open, and due again */
          :: else fi;
       res=0; goto end }
  fi;
 fence: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); undoing--; goto end }       /* fault: dies before the fence */
  :: atomic { true ->                                                              /* [payments.steps.Void.call] voids */
       if
#ifndef NO_FENCE
       :: gw==GNONE -> gw=GVOID
#endif
       :: gw==GAUTH -> gw=GVOID :: else fi;
       if :: res=gw :: MAY(unks,UNKS) -> PAYFOR(unks); undoing--; goto end fi }
  fi;
 giveback: if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); undoing--; res=0; goto end } /* fault: dies before the refund */
  :: atomic { true ->                                                              /* [payments.steps.Void.call] refunds */
       if :: res==GCAP && refunded==0 -> refunded++ :: else fi;
       if :: skip :: MAY(unks,UNKS) -> PAYFOR(unks); undoing--; res=0; goto end fi }
  fi;
  if
  :: atomic { MAY(crashes,CRASHES) -> PAYFOR(crashes); undoing--; res=0; goto end } /* fault: dies after the refund */
  :: atomic { undoing>0 -> undoing--;                                              /* [payments.steps.Void.record] */
       if :: undo==STARTED -> undo=DONE; put(VOIDED) :: else fi; res=0; goto end }
  fi }

/* ------------------------------------------------------------------------------------------- an authorization expires */
proctype Expiry() {
 end: do
  :: atomic { gw==GAUTH && MAYEXPIRE -> gw=GVOID }                                 /* fault: the authorization expires */
  :: atomic { authorize==DONE && capture==NONE && !forgotP && MAYEXPIRE ->         /* [payments.authorization_expiry.cancel_expiring_once] */
       capture=REFUSED; put(EXPIRING) }
  od }

/* -------------------------------------------- the error callback: late, repeated, or for a step that succeeded */
proctype Callback() {
 end: do
  :: atomic { (rows & CREATED) && KNOWN(forgotP) && authorize<=STARTED && MAY(errs,ERRS) -> /* [sagas.execution.failures.record_failures] */
       PAYFOR(errs); authorize=REFUSED; put(AUTHFAILED) }
  :: atomic { (rows & AUTHORIZED) && KNOWN(forgotI) && reserve==NONE && MAY(errs,ERRS) ->   /* [sagas.execution.failures.record_failures] */
       PAYFOR(errs); reserve=REFUSED; put(RESFAILED) }
#ifdef CB_PIVOT
  :: atomic { (rows & RESERVED) && KNOWN(forgotP) && capture<=STARTED && MAY(errs,ERRS) ->  /* [sagas.execution.failures.record_failures] */
       PAYFOR(errs); capture=REFUSED; put(LAPSED) }
#endif
  od }

#if MODE==0
/* The invariants of every state, also while faults are active. No money is ever taken that must be returned. */
#define BAD ( captured>1 || refunded>0 || held>1 || shipped>1 || (status==FULF && captured!=1) \
  || (status==CANC && (captured>0 || held>0 || shipped>0 || gw==GAUTH)) \
  || (undo==DONE && gw==GAUTH) || (release==DONE && held>0) || (shipped>0 && status!=FULF) \
  || (closed && status!=FULF && status!=CANC) || (closed && held>0) )
/* Ends that must be reachable, one for each PROBE. If they are not, the model proves nothing. */
#if PROBE==1                /* fulfilled, shipped and over */
#define SOUGHT ( closed && status==FULF && shipped==1 && captured==1 )
#elif PROBE==2              /* cancelled by the customer, released and the authorization cancelled */
#define SOUGHT ( closed && status==CANC && (rows & WITHHELD) && release==DONE && gw==GVOID )
#elif PROBE==3              /* the cancel came too late */
#define SOUGHT ( closed && status==FULF && withhold==DONE && !(rows & WITHHELD) )
#elif PROBE==4              /* the authorization expired before it was captured */
#define SOUGHT ( closed && status==CANC && (rows & LAPSED) )
#else
#define SOUGHT BAD
#endif
proctype Monitor() { end: do :: atomic { SOUGHT -> assert(false) } od }

/* Each service purges an ended saga at a moment of its own; messages to it may still be under way. */
proctype Retention() {
 end: do
  :: atomic { closed && !forgotO -> forgotO=true; fulfil=NONE; cancelstep=NONE }   /* [sagas.operations.retention.purge] orders */
  :: atomic { closed && !forgotP -> forgotP=true;                                  /* [sagas.operations.retention.purge] payments */
       authorize=NONE; capture=NONE; undo=NONE; withhold=NONE }
  :: atomic { closed && !forgotI -> forgotI=true;                                  /* [sagas.operations.retention.purge] inventory */
       reserve=NONE; release=NONE; ship=NONE }
  od }

init { atomic {                                                                    /* [orders.services.place_order] */
  rows=CREATED; run Monitor(); run Orders(); run Inventory(); run Callback(); run Retention(); run Expiry();
  run Payments(); run Payments();
#if WORKERS>2
  run Payments();
#endif
} }
#else
/* Send the row, and mark it or not. */
inline relay1(b) { bus = bus | b; if :: pub = pub | b :: MAY(dups,DUPS) -> dups++ fi }

proctype Relays() {
 end: do
  :: atomic { (rows & ~pub & CREATED) -> relay1(CREATED) }                         /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & ASKED) -> relay1(ASKED) }                             /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & FULFILLED) -> relay1(FULFILLED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & AUTHORIZED) -> relay1(AUTHORIZED) }                   /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & DECLINED) -> relay1(DECLINED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & AUTHFAILED) -> relay1(AUTHFAILED) }                   /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & VOIDED) -> relay1(VOIDED) }                           /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RESERVED) -> relay1(RESERVED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & UNAVAILABLE) -> relay1(UNAVAILABLE) }                 /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RESFAILED) -> relay1(RESFAILED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & RELEASED) -> relay1(RELEASED) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & SHIPPED) -> relay1(SHIPPED) }                         /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & PROCESSED) -> relay1(PROCESSED) }                     /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & LAPSED) -> relay1(LAPSED) }                           /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & WITHHELD) -> relay1(WITHHELD) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { (rows & ~pub & EXPIRING) -> relay1(EXPIRING) }                       /* [sagas.delivery.publisher.publish] */
  :: atomic { !over -> over=true }                                                 /* fault: the faults end */
  :: atomic { bus!=0 && MAY(losses,LOSSES) -> losses++; bus=0 }                    /* fault: FLUSHALL */
  :: atomic { (bus&ASKED) && MAY(losses,LOSSES) -> losses++; bus=bus&~ASKED }      /* fault: one message lost */
  :: atomic { (bus&(AUTHORIZED|RELEASED)) && MAY(losses,LOSSES) -> losses++;       /* fault: one message lost */
       bus=bus&~(AUTHORIZED|RELEASED) }
  od }

#ifdef NO_RESCUE
#define NEEDED false
#else
#define NEEDED (!closed)
#endif

proctype Rescue() {
 end: do
  :: atomic { timeout && NEEDED -> pub = pub & ~rows }                             /* [sagas.operations.redrive.republish] */
  od }

init { atomic {                                                                    /* [orders.services.place_order] */
  rows=CREATED; run Orders(); run Inventory(); run Callback(); run Relays(); run Rescue(); run Expiry();
  run Payments(); run Payments()
} }
ltl ends { <> closed }
#endif
