"""The home of a saga knows what the branches of a parallel group wait for, taken together."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

import pytest
from django.utils import timezone

from sagas import Event
from sagas.conf import settings
from sagas.definition.events import NeedsAttention, OnHold, WaitsForTime
from sagas.definition.messages import TimelineEntry
from sagas.ids import uuid7
from sagas.storage import timeline
from sagas.storage.registry import get_home
from tests.gifts.harness import begin, gift
from tests.gifts.steps import Done, NotPossible
from tests.trips.models import Cruise

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["gift"]

WRAP, ENGRAVE = "inventory.wrap", "payments.engrave"
HOUR, MONTH = timedelta(hours=1), timedelta(days=30)

Told = Callable[[str, Event], TimelineEntry]


@pytest.fixture
def saga(gift) -> UUID:
    return begin(gift)


@pytest.fixture
def told(gift, saga: UUID) -> Told:
    """Return a function that makes an entry of a branch. Each one is later than those before."""
    start, seconds = timezone.now(), count()

    def entry(step: str, event: Event) -> TimelineEntry:
        return TimelineEntry(
            id=uuid7(),
            saga=saga,
            seq=2,
            type=event.type,
            service=step.partition(".")[0],
            step=step,
            attempt=1,
            at=start + timedelta(seconds=next(seconds)),
            detail=event.facts(),
            beside=gift.plan.siblings(step),
        )

    return entry


def record(*entries: TimelineEntry) -> None:
    """Record entries one after another, as they come from several services."""
    for entry in entries:
        timeline.record(get_home("trips"), [entry])


def tracked(saga: UUID) -> Cruise:
    return Cruise.objects.get(pk=saga)


def is_missed_soon(saga: UUID) -> bool:
    """Return whether the saga counts as stalled after the usual time without progress."""
    usual = timedelta(seconds=settings.STALL_SECONDS + 5)
    return tracked(saga).rescue_at < timezone.now() + usual


def rests(step: str, until: datetime) -> WaitsForTime:
    return WaitsForTime(step=step, waits_until=until)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_end_of_the_shorter_wait_leaves_the_longer_one(saga, told, order):
    now = timezone.now()
    waits = [(ENGRAVE, now + MONTH), (WRAP, now + HOUR)]
    record(*[told(step, rests(step, until)) for step, until in [waits[n] for n in order]])
    assert tracked(saga).waits_until == now + MONTH
    record(told(WRAP, Done()))
    assert tracked(saga).waits_until == now + MONTH
    assert tracked(saga).rescue_at > now + MONTH
    record(told(ENGRAVE, Done()))
    assert tracked(saga).waits_until is None
    assert is_missed_soon(saga)


def test_a_released_hold_at_one_branch_ends_while_the_other_branch_waits(saga, told):
    until = timezone.now() + MONTH
    record(told(WRAP, OnHold(step=WRAP)), told(ENGRAVE, rests(ENGRAVE, until)))
    assert (tracked(saga).on_hold, tracked(saga).waits_until) == (WRAP, until)
    record(told(WRAP, Done()))
    assert (tracked(saga).on_hold, tracked(saga).waits_until) == ("", until)


def test_a_branch_that_was_repaired_needs_no_attention_while_the_other_one_waits(saga, told):
    record(told(WRAP, NeedsAttention(step=WRAP)))
    record(told(ENGRAVE, rests(ENGRAVE, timezone.now() + HOUR)))
    assert tracked(saga).needs_attention
    record(told(WRAP, Done()))
    assert not tracked(saga).needs_attention


def test_a_branch_that_has_not_begun_is_missed_while_the_other_one_waits(saga, told):
    until = timezone.now() + MONTH
    record(told(ENGRAVE, rests(ENGRAVE, until)))
    assert is_missed_soon(saga)
    record(told(WRAP, Done()))
    assert tracked(saga).waits_until == until
    assert not is_missed_soon(saga)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_compensation_is_missed_although_the_branch_beside_the_refusal_waits(saga, told, order):
    waiting = told(ENGRAVE, rests(ENGRAVE, timezone.now() + MONTH))
    refusal = told(WRAP, NotPossible(code="torn", detail="The paper is torn."))
    later = told(ENGRAVE, rests(ENGRAVE, timezone.now() + MONTH))
    record(waiting, *[(refusal, later)[index] for index in order])
    assert tracked(saga).waits_until is None
    assert is_missed_soon(saga)


def test_an_old_word_of_a_branch_changes_nothing(saga, told):
    until = timezone.now() + MONTH
    held, done, waiting = (
        told(WRAP, OnHold(step=WRAP)),
        told(WRAP, Done()),
        told(ENGRAVE, rests(ENGRAVE, until)),
    )
    record(waiting, done, held)
    assert (tracked(saga).on_hold, tracked(saga).waits_until) == ("", until)
