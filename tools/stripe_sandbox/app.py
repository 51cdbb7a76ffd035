"""Answer a request: check access, find the route, apply a fault, replay an earlier answer."""

import logging
import time
from collections.abc import Callable, Mapping

from tools.stripe_sandbox import access, fault_rules, idempotency, routes
from tools.stripe_sandbox.api_objects import API_VERSION
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.call_log import CallLog, subject_of
from tools.stripe_sandbox.control import Control
from tools.stripe_sandbox.errors import (
    ApiError,
    RequestLost,
    balance_insufficient,
    refused_by_fault,
    server_error,
)
from tools.stripe_sandbox.expand import expand
from tools.stripe_sandbox.fault_rules import BEFORE, HANG_SECONDS, Fault, Rule
from tools.stripe_sandbox.forms import Form, decode
from tools.stripe_sandbox.http import Ending, Reply, Request, to_json
from tools.stripe_sandbox.idempotency import Answer, InFlight
from tools.stripe_sandbox.records import new_id
from tools.stripe_sandbox.store import Store

__all__ = ["App"]

log = logging.getLogger("sandbox")

JSON = {"Content-Type": "application/json"}
FORM = "application/x-www-form-urlencoded"
ENDINGS = {
    Fault.TIMEOUT_LOST: Ending.HANG,
    Fault.TIMEOUT_DONE: Ending.HANG,
    Fault.RESET_LOST: Ending.RESET,
    Fault.RESET_DONE: Ending.RESET,
}
# Errors that are kept for the key, although the call has no effect.
SAVED: Mapping[Fault, Callable[[], ApiError]] = {
    Fault.ERROR_SAVED: server_error,
    Fault.REFUSAL_SAVED: refused_by_fault,
    Fault.BALANCE_INSUFFICIENT: balance_insufficient,
}


class App:
    """Answers requests. Several threads call it at once."""

    def __init__(self, store: Store, *, api_key: str, origin: str) -> None:
        """Serve the objects of `store` to clients with `api_key`.

        `origin` is the sandbox's own address, the start of links into it.
        """
        self.store = store
        self.api_key = api_key
        self.origin = origin
        self.call_log = CallLog()
        self.control = Control(store, origin=origin, call_log=self.call_log)
        self.in_flight = InFlight()

    def handle(self, request: Request) -> Reply:
        """Answer a request."""
        id = new_id("req")
        try:
            reply = self._reply(request, id)
        except ApiError as error:
            reply = _refused(error)
        except Exception:
            log.exception(
                "%s %s %s failed. This is a bug in the sandbox, not an injected fault.",
                id,
                *_line(request),
            )
            reply = _refused(
                server_error("The sandbox has a bug and failed. Its log has the traceback.")
            )

        reply.headers = {"Request-Id": id, "Stripe-Version": API_VERSION, **reply.headers}
        log.info("%s %s %s %s %s", id, *_line(request), reply.status, reply.ending.name.lower())
        return reply

    def _reply(self, request: Request, id: str) -> Reply:
        if not request.path.startswith("/v1/"):
            return self.control.handle(request)

        access.authenticate(request, self.api_key)
        version = access.version(request)
        found = routes.find(request.method, request.path)
        if found is None:
            raise ApiError(
                f"Unrecognized request URL ({request.method}: {request.path}).", status=404
            )

        route, ids = found
        call = self._call(request, id)
        with self.store.transaction():
            rule = fault_rules.next_fault(self.store, route.operation)

        fault = rule.fault if rule else None
        with self.call_log.recording(
            route.operation, subject=subject_of(call.form, ids), fault=fault
        ):
            if rule and rule.fault in BEFORE:
                return _fault_reply(rule)

            with self.in_flight.holding(call.key):
                reply = self._execute(call, route, ids, rule)

        reply.headers["Stripe-Version"] = version
        return reply

    def _call(self, request: Request, id: str) -> Call:
        """Read the parameters: from the body of a POST, from the query of a GET."""
        post = request.method == "POST"
        if post and request.body and not request.headers.get("content-type", "").startswith(FORM):
            raise ApiError(f"Send the parameters as {FORM}.")

        try:
            encoded = request.body.decode() if post else request.query
        except UnicodeDecodeError:
            raise ApiError("The body is not valid UTF-8.") from None

        return Call(
            store=self.store,
            form=Form(decode(encoded)),
            request=id,
            key=request.headers.get("idempotency-key") or None if post else None,
            origin=self.origin,
        )

    def _execute(
        self, call: Call, route: routes.Route, ids: tuple[str, ...], rule: Rule | None
    ) -> Reply:
        """Execute the call, once for each key, and lose the answer if a fault says so."""
        if rule and rule.fault == Fault.SLOW:
            time.sleep(max(rule.duration, 0.0))
        if rule and rule.fault == Fault.STALE:
            call.invisible_after = self.store.now() - rule.duration

        answer = self._answer(call, route, ids, rule)
        if answer is None:
            return Reply(ending=Ending.HANG, seconds=HANG_SECONDS)

        fault, seconds = (rule.fault, rule.duration) if rule else (call.fault, HANG_SECONDS)
        return Reply(
            status=answer.status,
            body=answer.body.encode(),
            headers=_headers(call, answer),
            ending=ENDINGS.get(fault, Ending.ANSWER) if fault else Ending.ANSWER,
            seconds=seconds,
        )

    def _answer(
        self, call: Call, route: routes.Route, ids: tuple[str, ...], rule: Rule | None
    ) -> Answer | None:
        """Return the earlier answer for the key, or execute the call and keep its answer.

        Returns None for a request that is lost on its way.
        """
        endpoint = f"{route.operation} {' '.join(ids)}".strip()
        with self.store.transaction():
            answer = idempotency.recall(call, endpoint)
            if answer is None:
                answer = _work(call, route, ids, rule)
                if answer is not None and call.key is not None:
                    idempotency.keep(call, endpoint, answer)

            return answer


def _work(
    call: Call, route: routes.Route, ids: tuple[str, ...], rule: Rule | None
) -> Answer | None:
    try:
        if rule and rule.fault in SAVED:
            raise SAVED[rule.fault]()
        status, body = 200, expand(call, route.handler(call, *ids))
    except RequestLost:
        return None
    except ApiError as error:
        if not error.executed:
            raise  # rolls back; no answer is kept

        status, body = error.status, error.body()

    if Fault.ERROR_DONE in {call.fault, rule.fault if rule else None}:
        failure = server_error()
        status, body = failure.status, failure.body()

    return Answer(status=status, body=to_json(body).decode(), request=str(call.request))


def _fault_reply(rule: Rule) -> Reply:
    """Return the reply for a fault that prevents the execution."""
    match rule.fault:
        case Fault.RATE_LIMIT:
            error = ApiError("Too many requests (injected fault).", status=429, code="rate_limit")
            reply = _refused(error)
            reply.headers["Retry-After"] = str(max(1, round(rule.duration)))

            return reply
        case Fault.CONFLICT:
            return _refused(idempotency.in_use())
        case Fault.ERROR_LOST:
            return _refused(server_error())

    return Reply(ending=ENDINGS[rule.fault], seconds=rule.duration)


def _refused(error: ApiError) -> Reply:
    return Reply(status=error.status, body=to_json(error.body()), headers=dict(JSON))


def _headers(call: Call, answer: Answer) -> dict[str, str]:
    headers = dict(JSON)
    if call.key is not None:
        # A retry would get the same kept answer. Stripe's client reads this header before it
        # retries.
        headers |= {
            "Idempotency-Key": call.key,
            "Original-Request": answer.request,
            "Stripe-Should-Retry": "false",
        }

    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"

    return headers


def _line(request: Request) -> tuple[str, str]:
    return request.method, request.path
