"""The steps of a tour: a quote, a guide, an insurance for some, and the departure.

Each event says what its step has read, so a test sees it in the outbox.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from sagas import Batch, Delivery, Event, ExternalStep, From, Refusal, Saga, Step, action, undo
from sagas.outcomes import Outcome

__all__ = [
    "Assigned",
    "CalledOff",
    "Insured",
    "Quoted",
    "TourBegan",
    "register",
    "wants_insurance",
]


class TourBegan(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.began"
    price: int
    insured: bool = False


class Quoted(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.quoted"
    price: int
    currency: str = "eur"


class Assigned(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.assigned"
    guide: str


class Insured(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.insured"
    policy: str


class Announced(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.announced"
    guide: str
    policy: str | None


class Departed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.departed"
    price: int


class Undone(Event, frozen=True, kw_only=True):
    """An undo, with the results that it has read: of its own action, and of `trips.quote`."""

    type: ClassVar[str] = "tour.undone"
    applied: bool
    own: str | None
    price: int | None


class Dropped(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.dropped"
    guide: str | None


class Refused(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.refused"


class CalledOff(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.called_off"
    code: str = "called_off"
    detail: str = "The traveller stays at home."


class Wanted(msgspec.Struct, frozen=True):
    price: int


class Quote(msgspec.Struct, frozen=True):
    """The fields of a quote that another service reads."""

    price: int


class Guided(msgspec.Struct, frozen=True):
    quote: Annotated[Quote, From("trips.quote")]


class ToAnnounce(msgspec.Struct, frozen=True):
    assigned: Annotated[Assigned, From("inventory.assign")]
    insured: Annotated[Insured | None, From("inventory.insure")]


class Unquoted(msgspec.Struct, frozen=True):
    quote: Annotated[Quoted | None, From("trips.quote")] = None


class Unguided(msgspec.Struct, frozen=True):
    guide: Annotated[Assigned | None, From("inventory.assign")]
    quote: Annotated[Quote | None, From("trips.quote")]


class Uninsured(msgspec.Struct, frozen=True):
    insurance: Annotated[Insured | None, From("inventory.insure")]
    quote: Annotated[Quote | None, From("trips.quote")]


class ToDrop(msgspec.Struct, frozen=True):
    guide: Annotated[Assigned | None, From("inventory.assign")]


def quote(batch: Batch[Wanted]) -> list[Outcome]:
    return [Quoted(price=delivery.context.price * 2) for delivery in batch]


def withdraw(delivery: Delivery[Unquoted]) -> Undone:
    found = delivery.context.quote
    price = found.price if found else None
    own = found.currency if found else None
    return Undone(applied=delivery.action_done, own=own, price=price)


def assign(batch: Batch[Guided]) -> list[Outcome]:
    return [Assigned(guide=f"guide-{delivery.context.quote.price}") for delivery in batch]


def unassign(delivery: Delivery[Unguided]) -> Undone:
    guide, found = delivery.context.guide, delivery.context.quote
    return Undone(
        applied=delivery.action_done,
        own=guide.guide if guide else None,
        price=found.price if found else None,
    )


class Insure(ExternalStep[Guided, int, str]):
    def prepare(self, batch: Batch[Guided]) -> Sequence[int]:
        return [delivery.context.quote.price for delivery in batch]

    def call(self, requests: Sequence[int]) -> Sequence[str]:
        return [f"policy-{price}" for price in requests]

    def record(self, batch: Batch[Guided], answers: Sequence[str]) -> Sequence[Outcome]:
        return [Insured(policy=policy) for policy in answers]


def uninsure(delivery: Delivery[Uninsured]) -> Undone:
    insurance, found = delivery.context.insurance, delivery.context.quote
    return Undone(
        applied=delivery.action_done,
        own=insurance.policy if insurance else None,
        price=found.price if found else None,
    )


def announce(delivery: Delivery[ToAnnounce]) -> Announced:
    insured = delivery.context.insured
    return Announced(
        guide=delivery.context.assigned.guide, policy=insured.policy if insured else None
    )


def depart(delivery: Delivery[Guided]) -> Departed:
    return Departed(price=delivery.context.quote.price)


def drop(delivery: Delivery[ToDrop]) -> Dropped:
    guide = delivery.context.guide
    return Dropped(guide=guide.guide if guide else None)


def wants_insurance(began: TourBegan) -> bool:
    return began.insured


def register() -> Saga:
    """Register the steps, and declare the saga."""
    action("trips.quote", refusal=Refused, returns=Quoted)(quote)
    undo("trips.withdraw")(withdraw)
    action("inventory.assign", refusal=Refused, returns=Assigned)(assign)
    undo("inventory.unassign")(unassign)
    action("inventory.insure", refusal=Refused, returns=Insured)(Insure)
    undo("inventory.uninsure")(uninsure)
    action("trips.announce", refusal=Refused)(announce)
    action("trips.depart")(depart)
    undo("trips.leave")(drop)

    return Saga(
        "tour",
        Step("trips.quote", undo="trips.withdraw"),
        Step("inventory.assign", undo="inventory.unassign"),
        Step("inventory.insure", undo="inventory.uninsure", when=wants_insurance),
        Step("trips.announce", pivot=True),
        Step("trips.depart"),
        abort="trips.leave",
        started_by=TourBegan,
    )
