"""The steps of a gift: two branches before the pivot, and two after it, which may not refuse.

Each event says what its step has read, so a test sees it in the outbox.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from sagas import (
    Batch,
    Delivery,
    Event,
    ExternalStep,
    From,
    Parallel,
    Refusal,
    Saga,
    Step,
    action,
    undo,
)
from sagas.outcomes import Outcome, Unknown

__all__ = ["CalledOff", "GiftChosen", "NotPossible", "register"]


class GiftChosen(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.chosen"
    name: str = "Ada"
    engraved: bool = True
    wrapped: bool = True


class Picked(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.picked"


class Wrapped(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.wrapped"
    paper: str


class Engraved(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.engraved"
    text: str


class Sent(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.sent"
    paper: str | None
    text: str | None


class Done(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.step_done"
    applied: bool = True


class Undone(Event, frozen=True, kw_only=True):
    """An undo, with the result of its own action."""

    type: ClassVar[str] = "gift.undone"
    applied: bool
    own: str | None = None


class NotPossible(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.not_possible"


class CalledOff(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "gift.called_off"
    code: str = "called_off"
    detail: str = "The guest stays at home."


class ToSend(msgspec.Struct, frozen=True):
    wrapping: Annotated[Wrapped | None, From("inventory.wrap")]
    engraving: Annotated[Engraved | None, From("payments.engrave")]


class ToUnwrap(msgspec.Struct, frozen=True):
    wrapping: Annotated[Wrapped | None, From("inventory.wrap")]


class ToUnengrave(msgspec.Struct, frozen=True):
    engraving: Annotated[Engraved | None, From("payments.engrave")]


def wrap(gift: Delivery[GiftChosen]) -> Wrapped:
    return Wrapped(paper=f"paper for {gift.context.name}")


def unwrap(gift: Delivery[ToUnwrap]) -> Undone:
    found = gift.context.wrapping
    return Undone(applied=gift.action_done, own=found.paper if found else None)


class Engrave(ExternalStep[GiftChosen, str, Outcome]):
    """Asks an engraver. For the name "silent" it gets no answer."""

    def prepare(self, batch: Batch[GiftChosen]) -> Sequence[str]:
        return [gift.context.name for gift in batch]

    def call(self, requests: Sequence[str]) -> Sequence[Outcome]:
        return [
            Unknown(reason="No answer.") if name == "silent" else Engraved(text=f"For {name}")
            for name in requests
        ]

    def record(self, batch: Batch[GiftChosen], answers: Sequence[Outcome]) -> Sequence[Outcome]:
        return answers


def unengrave(gift: Delivery[ToUnengrave]) -> Undone:
    found = gift.context.engraving
    return Undone(applied=gift.action_done, own=found.text if found else None)


def send(gift: Delivery[ToSend]) -> Sent:
    wrapping, engraving = gift.context.wrapping, gift.context.engraving
    return Sent(
        paper=wrapping.paper if wrapping else None, text=engraving.text if engraving else None
    )


def pick(gift: Delivery[GiftChosen]) -> Picked:
    return Picked()


def simply(gift: Delivery[GiftChosen]) -> Done:
    return Done(applied=gift.action_done)


def is_wrapped(chosen: GiftChosen) -> bool:
    return chosen.wrapped


def is_engraved(chosen: GiftChosen) -> bool:
    return chosen.engraved


def register() -> Saga:
    """Register the steps, and declare the saga."""
    action("trips.pick", refusal=NotPossible)(pick)
    undo("trips.unpick")(simply)
    action("inventory.wrap", refusal=NotPossible, returns=Wrapped)(wrap)
    undo("inventory.unwrap")(unwrap)
    action("payments.engrave", refusal=NotPossible, returns=Engraved)(Engrave)
    undo("payments.unengrave")(unengrave)
    action("trips.send", refusal=NotPossible)(send)
    action("inventory.count")(simply)
    action("payments.rate", tries=1)(simply)
    action("trips.archive")(simply)
    undo("trips.discard")(simply)

    return Saga(
        "gift",
        Step("trips.pick", undo="trips.unpick"),
        Parallel(
            Step("inventory.wrap", undo="inventory.unwrap", when=is_wrapped),
            Step("payments.engrave", undo="payments.unengrave", when=is_engraved),
        ),
        Step("trips.send", pivot=True),
        Parallel(Step("inventory.count"), Step("payments.rate", optional=True)),
        Step("trips.archive"),
        abort="trips.discard",
        started_by=GiftChosen,
    )
