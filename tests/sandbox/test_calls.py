"""The log of calls: what clients called, for which order, and which fault they met."""

import threading
from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.process import Sandbox


def calls(sandbox: Sandbox, order: str, **params: Any) -> list[tuple[str, str | None]]:
    """Return operation and fault of each call for an order."""
    page = sandbox.http.get("/sandbox/calls", params={"limit": 1000} | params).json()
    return [(each["operation"], each["fault"]) for each in page["data"] if is_of(each, order)]


def is_of(call: dict[str, Any], order: str) -> bool:
    return bool(call["order_id"] == order)


def test_each_call_is_listed_with_the_order_that_it_is_for(sandbox: Sandbox) -> None:
    intent = sandbox.create(metadata={"order_id": "o-listed"})
    sandbox.client.v1.payment_intents.confirm(intent.id, {"return_url": "https://shop.test"})

    assert calls(sandbox, "o-listed") == [
        ("payment_intents.create", None),
        ("payment_intents.confirm", None),
    ]


def test_a_call_is_listed_with_its_fault_although_it_was_not_executed(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "500_lost")
    with pytest.raises(stripe.APIError):
        sandbox.create(metadata={"order_id": "o-failed"})

    assert calls(sandbox, "o-failed") == [("payment_intents.create", "500_lost")]


def test_a_reader_continues_behind_the_last_call_that_it_read(sandbox: Sandbox) -> None:
    for _ in range(3):
        sandbox.create(metadata={"order_id": "o-paged"})

    page = sandbox.http.get("/sandbox/calls", params={"limit": 1000}).json()
    first = next(each["seq"] for each in page["data"] if is_of(each, "o-paged"))
    assert len(calls(sandbox, "o-paged", after=first)) == 2
    assert len(calls(sandbox, "o-paged", after=first + 1, limit=1)) == 1
    assert calls(sandbox, "o-paged", after=first + 2) == []


def test_a_slow_call_is_in_flight_until_it_is_answered(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "slow", seconds=0.3)
    caller = threading.Thread(target=sandbox.create)
    caller.start()
    until(lambda: in_flight(sandbox) == 1, "the slow call is in flight")
    caller.join()
    assert in_flight(sandbox) == 0


def in_flight(sandbox: Sandbox) -> int:
    return int(sandbox.http.get("/sandbox/calls").json()["in_flight"])
