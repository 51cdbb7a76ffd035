"""Events: written down with what they tell of, in the same transaction, and put up for delivery."""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.deliveries import schedule
from tools.stripe_sandbox.lists import one, page
from tools.stripe_sandbox.records import Event, Record, new_id
from tools.stripe_sandbox.shapes import shape

__all__ = ["happened", "list_all", "retrieve"]


def happened(call: Call, type: str, record: Record) -> None:
    """Record that something happened to an object, with the object as it is now."""
    event = Event(
        id=new_id("evt"),
        created=call.now,
        type=type,
        data=shape(call.books, record),
        request={"id": call.request, "idempotency_key": call.key},
    )
    call.books.add(event)
    schedule(call.books, event)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/events/{id}"""
    return one(call, Event, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/events, newest first; `type` and `types` choose."""
    kinds = [kind for kind in (call.form.text("type"), *call.form.texts("types")) if kind]
    return page(call, Event, "/v1/events", {"type": kinds}, also=("types",))
