"""The control API under /sandbox/ for tests and the demo. Only this machine may call it."""

import ipaddress
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from tools.stripe_sandbox import (
    dashboard,
    delayed_settlement,
    deliveries,
    fault_rules,
    html_pages,
    intents,
    ledger,
)
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.call_log import CallLog
from tools.stripe_sandbox.dashboard import Act
from tools.stripe_sandbox.errors import ApiError, not_found
from tools.stripe_sandbox.fault_rules import MAX_SECONDS, Rule
from tools.stripe_sandbox.http import Reply, Request, read_json, to_json
from tools.stripe_sandbox.records import Event, Intent
from tools.stripe_sandbox.store import Store

__all__ = ["Control"]

MAX_ENTRIES = 1000


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Set the clock forward."""

    advance: Annotated[float, Meta(ge=0, le=MAX_SECONDS)]


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """The bank's final answer."""

    outcome: Literal["succeeded", "failed"]


class Redelivery(msgspec.Struct, forbid_unknown_fields=True):
    """Send an event again: `copies` times, after `delay` seconds.

    A `forged` event has a wrong signature. `shift` moves its signed time by seconds.
    """

    event: str
    copies: Annotated[int, Meta(ge=1, le=1000)] = 1
    delay: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 0.0
    forged: bool = False
    shift: Annotated[int, Meta(ge=-MAX_SECONDS, le=MAX_SECONDS)] = 0


class Control:
    """The calls under /sandbox/, and the front page."""

    def __init__(self, store: Store, *, origin: str, call_log: CallLog) -> None:
        """Control the sandbox that uses `store`."""
        self.store = store
        self.origin = origin
        self.call_log = call_log
        self.calls: dict[tuple[str, str], Callable[..., Reply]] = {
            ("GET", "/"): lambda request: html_pages.front(),
            ("GET", "/sandbox/health"): lambda request: _json({"sandbox": True, "livemode": False}),
            ("GET", "/sandbox/ledger"): self.ledger,
            ("GET", "/sandbox/calls"): self.list_calls,
            ("GET", "/sandbox/faults"): self.faults,
            ("POST", "/sandbox/faults"): self.add_fault,
            ("DELETE", "/sandbox/faults"): self.clear_faults,
            ("GET", "/sandbox/clock"): self.clock,
            ("POST", "/sandbox/clock"): self.advance,
            ("GET", "/sandbox/deliveries"): self.deliveries,
            ("POST", "/sandbox/deliveries"): self.deliver_again,
            ("POST", "/sandbox/settle/([^/]+)"): self.settle,
            ("GET", "/sandbox/authenticate/([^/]+)"): self.ask_customer,
            ("POST", "/sandbox/authenticate/([^/]+)"): self.authenticate,
        }
        for path, act in dashboard.ACTS.items():
            self.calls["POST", path] = partial(self.act_by_hand, act)

    def handle(self, request: Request) -> Reply:
        """Answer a request outside of /v1/."""
        if request.path != "/" and not ipaddress.ip_address(request.client).is_loopback:
            raise ApiError("Only the sandbox's own machine may call /sandbox/.", status=403)

        for (method, path), answer in self.calls.items():
            found = re.fullmatch(path, request.path)
            if found and method == request.method:
                return answer(request, *found.groups())

        raise ApiError(f"The sandbox has no {request.method} {request.path}.", status=404)

    def ledger(self, request: Request) -> Reply:
        """List the movements of money after the entry `after`, oldest first."""
        after, most = _page(request)
        return _json(ledger.entries(self.store, after=after, most=most))

    def list_calls(self, request: Request) -> Reply:
        """List the calls of the API after the call `after`, oldest first."""
        after, most = _page(request)
        return _json(self.call_log.page(self.store, after=after, most=most))

    def faults(self, request: Request) -> Reply:
        """List all rules and their counters."""
        return _json({"object": "list", "data": fault_rules.rules(self.store)})

    def add_fault(self, request: Request) -> Reply:
        """Add a rule."""
        rule = read_json(request.body, Rule)
        fault_rules.add(self.store, rule)
        return _json(rule)

    def clear_faults(self, request: Request) -> Reply:
        """Remove all rules."""
        fault_rules.clear(self.store)
        return self.faults(request)

    def clock(self, request: Request) -> Reply:
        """Return the sandbox's time."""
        return _json({"now": self.store.now(), "ahead": self.store.ahead})

    def advance(self, request: Request) -> Reply:
        """Set the clock forward."""
        self.store.advance(read_json(request.body, Advance).advance)
        return self.clock(request)

    def deliveries(self, request: Request) -> Reply:
        """List the newest 1,000 deliveries of events."""
        return _json({"object": "list", "data": deliveries.newest(self.store, MAX_ENTRIES)})

    def deliver_again(self, request: Request) -> Reply:
        """Send an event again."""
        redelivery = read_json(request.body, Redelivery)
        with self.store.transaction():
            if self.store.find(Event, redelivery.event) is None:
                raise not_found("event", redelivery.event, param="event")

            deliveries.deliver_again(
                self.store,
                redelivery.event,
                copies=redelivery.copies,
                delay=redelivery.delay,
                forged=redelivery.forged,
                shift=redelivery.shift,
            )

        return self.deliveries(request)

    def settle(self, request: Request, id: str) -> Reply:
        """Settle a payment intent or a refund now."""
        delayed_settlement.settle(self.store, id, read_json(request.body, Outcome).outcome)
        return _json({"id": id})

    def act_by_hand(self, act: Act, request: Request, *ids: str) -> Reply:
        """Do what a person does in the provider's dashboard."""
        with self.store.transaction():
            call = Call(store=self.store, origin=self.origin)
            return _json(act(call, request.body, *ids))

    def ask_customer(self, request: Request, id: str) -> Reply:
        """Return the page of the customer's bank."""
        intent = self.store.find(Intent, id)
        if intent is None:
            raise not_found("payment_intent", id, param="id")
        return html_pages.authentication(intent)

    def authenticate(self, request: Request, id: str) -> Reply:
        """Answer for the customer: `consent=yes` or `consent=no`, as the page's form sends it."""
        consent = parse_qs(request.body.decode(errors="replace")).get("consent", [""])[0]
        if consent not in {"yes", "no"}:
            raise ApiError("consent must be yes or no.", param="consent")

        with self.store.transaction():
            intent = intents.authenticate(
                Call(store=self.store, origin=self.origin), id, consented=consent == "yes"
            )

        return html_pages.back_to_shop(intent)


def _json(value: Any) -> Reply:
    return Reply(body=to_json(value), headers={"Content-Type": "application/json"})


def _page(request: Request) -> tuple[int, int]:
    after, most = _number(request, "after", 0), _number(request, "limit", 100)
    if not 1 <= most <= MAX_ENTRIES:
        raise ApiError(f"limit must be from 1 to {MAX_ENTRIES}.", param="limit")
    return after, most


def _number(request: Request, name: str, default: int) -> int:
    text = parse_qs(request.query).get(name, [str(default)])[0]
    if not re.fullmatch("[0-9]{1,15}", text):
        raise ApiError(f"{name} must be a whole number.", param=name)
    return int(text)
