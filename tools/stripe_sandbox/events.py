"""Events: recorded in the transaction of the change they describe, and scheduled for delivery."""

from typing import Any

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.deliveries import schedule
from tools.stripe_sandbox.pagination import page, retrieve_one
from tools.stripe_sandbox.records import Event, Record, new_id

__all__ = ["list_all", "record_event", "retrieve"]


def record_event(call: Call, type: str, record: Record) -> None:
    """Record an event with the current state of its object, and schedule its delivery."""
    event = Event(
        id=new_id("evt"),
        created=call.now,
        type=type,
        data=to_api_object(call.store, record),
        request={"id": call.request, "idempotency_key": call.key},
    )
    call.store.add(event)
    schedule(call.store, event)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/events/{id}"""
    return retrieve_one(call, Event, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/events, newest first, filtered by `type` and `types`"""
    kinds = [kind for kind in (call.form.text("type"), *call.form.texts("types")) if kind]
    return page(call, Event, "/v1/events", {"type": kinds}, also=("types",))
