"""What a test, a check or a demo may ask of the sandbox beside the API: under /sandbox/, from
this machine alone.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from tools.stripe_sandbox import bank, deliveries, faults, intents, ledger, pages
from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError, no_such
from tools.stripe_sandbox.faults import LONGEST_SECONDS, Rule
from tools.stripe_sandbox.records import Event, Intent
from tools.stripe_sandbox.wire import Reply, Request, to_json

__all__ = ["Control"]

T = TypeVar("T")

MOST_ENTRIES = 1000


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Set the clock forward."""

    advance: Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """How the bank answers in the end."""

    outcome: Literal["succeeded", "failed"]


class Again(msgspec.Struct, forbid_unknown_fields=True):
    """Tell an event again: `copies` times, after `delay` seconds, `forged`, or with its time
    `shift` seconds off.
    """

    event: str
    copies: Annotated[int, Meta(ge=1, le=1000)] = 1
    delay: Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)] = 0.0
    forged: bool = False
    shift: Annotated[int, Meta(ge=-LONGEST_SECONDS, le=LONGEST_SECONDS)] = 0


class Control:
    """The calls under /sandbox/, and the front page."""

    def __init__(self, books: Books, *, origin: str) -> None:
        """Control what these books hold."""
        self.books = books
        self.origin = origin
        self.calls: dict[tuple[str, str], Callable[..., Reply]] = {
            ("GET", "/"): lambda request: pages.front(),
            ("GET", "/sandbox/health"): lambda request: _json({"sandbox": True, "livemode": False}),
            ("GET", "/sandbox/ledger"): self.ledger,
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

    def handle(self, request: Request) -> Reply:
        """Answer a request that is not the API's."""
        if request.path != "/" and not ipaddress.ip_address(request.client).is_loopback:
            raise ApiError("The sandbox is controlled from its own machine alone.", status=403)
        for (method, path), answer in self.calls.items():
            found = re.fullmatch(path, request.path)
            if found and method == request.method:
                return answer(request, *found.groups())
        raise ApiError(f"The sandbox has no {request.method} {request.path}.", status=404)

    def ledger(self, request: Request) -> Reply:
        """All money that was moved, oldest first, behind the entry that `after` names."""
        after, most = _number(request, "after", 0), _number(request, "limit", 100)
        if not 1 <= most <= MOST_ENTRIES:
            raise ApiError(f"limit is from 1 to {MOST_ENTRIES}.", param="limit")
        return _json(ledger.entries(self.books, after=after, most=most))

    def faults(self, request: Request) -> Reply:
        """All rules, with how often each has struck."""
        return _json({"object": "list", "data": faults.rules(self.books)})

    def add_fault(self, request: Request) -> Reply:
        """Make a rule."""
        rule = _read(request, Rule)
        faults.add(self.books, rule)
        return _json(rule)

    def clear_faults(self, request: Request) -> Reply:
        """Forget all rules."""
        faults.clear(self.books)
        return self.faults(request)

    def clock(self, request: Request) -> Reply:
        """The sandbox's time."""
        return _json({"now": self.books.now(), "ahead": self.books.ahead})

    def advance(self, request: Request) -> Reply:
        """Set the clock forward."""
        self.books.advance(_read(request, Advance).advance)
        return self.clock(request)

    def deliveries(self, request: Request) -> Reply:
        """The newest thousand deliveries of events."""
        return _json({"object": "list", "data": deliveries.newest(self.books, MOST_ENTRIES)})

    def deliver_again(self, request: Request) -> Reply:
        """Tell an event again."""
        again = _read(request, Again)
        with self.books.transaction():
            if self.books.find(Event, again.event) is None:
                raise no_such("event", again.event, param="event")
            deliveries.deliver_again(
                self.books,
                again.event,
                copies=again.copies,
                delay=again.delay,
                forged=again.forged,
                shift=again.shift,
            )
        return self.deliveries(request)

    def settle(self, request: Request, id: str) -> Reply:
        """Let a payment intent or a refund end now."""
        bank.settle(self.books, id, _read(request, Outcome).outcome)
        return _json({"id": id})

    def ask_customer(self, request: Request, id: str) -> Reply:
        """The page of the customer's bank."""
        intent = self.books.find(Intent, id)
        if intent is None:
            raise no_such("payment_intent", id, param="id")
        return pages.authentication(intent)

    def authenticate(self, request: Request, id: str) -> Reply:
        """Answer for the customer: `consent=yes` or `consent=no`, as the page's form sends it."""
        consent = parse_qs(request.body.decode(errors="replace")).get("consent", [""])[0]
        if consent not in {"yes", "no"}:
            raise ApiError("consent is yes or no.", param="consent")
        with self.books.transaction():
            intent = intents.authenticate(
                Call(books=self.books, origin=self.origin), id, consented=consent == "yes"
            )
        return pages.back_to_shop(intent)


def _json(value: Any) -> Reply:
    return Reply(body=to_json(value), headers={"Content-Type": "application/json"})


def _read(request: Request, type: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body, type=type)
    except msgspec.DecodeError as error:
        raise ApiError(f"{error}.") from None


def _number(request: Request, name: str, default: int) -> int:
    given = parse_qs(request.query).get(name, [str(default)])[0]
    if not re.fullmatch("[0-9]{1,15}", given):
        raise ApiError(f"{name} is a whole number.", param=name)
    return int(given)
