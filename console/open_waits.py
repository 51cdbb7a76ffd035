"""The waits of a saga that take a signal now, and the answers that an operator may give."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.utils import timezone

from sagas.definition.events import Event, Refusal
from sagas.definition.plan import Plan
from sagas.models import Inbox
from sagas.waits import WaitRule, rule_of

__all__ = ["Answer", "OpenWait", "answers_to", "find_open_waits"]

OPEN = (Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer to a wait: the type of its event, its fields, and the way of the saga after it.

    `example` has the required fields as JSON.
    """

    type: str
    fields: list[str]
    example: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class OpenWait:
    """A wait that takes a signal until `expires_at`."""

    step: str
    expires_at: datetime


def find_open_waits(plan: Plan, rows: Iterable[Any]) -> list[OpenWait]:
    """Return the waits among the inbox rows of a saga that take a signal now."""
    now = timezone.now()
    return [
        OpenWait(step=row.step, expires_at=row.expires_at)
        for row in rows
        if row.state in OPEN and row.signal is None and row.expires_at and row.expires_at > now
        if _is_known(plan, row.step)
    ]


def answers_to(plan: Plan, step: str, rule: WaitRule) -> list[Answer]:
    """Return the answers to a wait of a plan, and the effect of each on the saga."""
    return [
        Answer(
            type=type_,
            fields=list(_fields(event)),
            example=msgspec.json.encode(_required(event)).decode(),
            effect=_effect(plan, step, event),
        )
        for type_, event in rule.types().items()
    ]


def _is_known(plan: Plan, step: str) -> bool:
    try:
        rule_of(plan, step)
    except LookupError:
        return False
    return True


def _effect(plan: Plan, step: str, event: type[Event]) -> str:
    if issubclass(event, Refusal):
        return f"The saga is undone, from {plan.after_refusal(step)} on."
    following = plan.after(step)
    return f"The saga goes on with {following}." if following else "The saga ends."


def _fields(event: type[Event]) -> Iterator[str]:
    for field in msgspec.structs.fields(event):
        kind = getattr(field.type, "__name__", None) or str(field.type)
        yield f"{field.encode_name} ({kind}{'' if field.required else ', optional'})"


def _required(event: type[Event]) -> dict[str, None]:
    return {field.encode_name: None for field in msgspec.structs.fields(event) if field.required}
