"""The limit of calls at once finds the pace of its destination, and leaves it alone in trouble."""

import pytest

from sagas.execution.in_flight.adaptive_limit import FIRST, AdaptiveLimit
from sagas.execution.in_flight.destination import LATEST, SOONEST, Destination


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def round(self, limit: AdaptiveLimit, *, failures: int = 0, was_full: bool = True) -> None:
        """End as many calls as the limit allows, the failures last."""
        started_at, self.now = self.now, self.now + 1
        count = limit.value
        for number in range(count):
            limit.note(
                failed=number >= count - failures,
                was_full=was_full,
                started_at=started_at,
                now=self.now,
            )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_limit_doubles_up_to_the_most_while_answers_come(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    found = [limit.value]
    for _ in range(4):
        clock.round(limit)
        found.append(limit.value)
    assert found == [FIRST, 32, 64, 64, 64]


def test_the_limit_does_not_rise_where_fewer_calls_run_than_it_allows(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    clock.round(limit, was_full=False)
    assert limit.value == FIRST


def test_a_round_of_failures_halves_the_limit_once(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    clock.round(limit, failures=16)
    assert limit.value == 8


def test_the_limit_never_falls_below_one(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    found = []
    for _ in range(7):
        clock.round(limit, failures=limit.value)
        found.append(limit.value)
    assert found == [8, 4, 2, 1, 1, 1, 1]


def test_one_failure_among_many_answers_does_not_lower_the_limit(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    for _ in range(3):
        clock.round(limit, failures=1)
    assert limit.value == 64


def test_after_trouble_the_limit_rises_by_an_eighth_in_each_round(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    for _ in range(2):
        clock.round(limit)
    clock.round(limit, failures=20)
    found = []
    for _ in range(3):
        clock.round(limit)
        found.append(limit.value)
    assert found == [36, 40, 45]


def test_after_a_silence_the_limit_doubles_up_to_half_of_what_it_was(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    clock.round(limit)
    for _ in range(8):
        clock.round(limit, failures=limit.value)
    assert (limit.value, limit.expected) == (1, 32)
    found = []
    for _ in range(6):
        clock.round(limit)
        found.append(limit.value)
    assert found == [2, 4, 8, 16, 18, 20]


def test_trouble_among_answers_lowers_the_limit_that_is_expected(clock: Clock) -> None:
    limit = AdaptiveLimit(64)
    for _ in range(2):
        clock.round(limit)
    for _ in range(3):
        clock.round(limit, failures=limit.value // 2)
    assert limit.expected < 16


def test_the_limit_is_never_above_the_most() -> None:
    assert AdaptiveLimit(4).value == 4


def test_messages_without_room_come_back_at_the_pace_of_the_destination() -> None:
    destination = Destination("bank", most=16)
    first, second = (destination.place_in_queue(48, now=0.0) for _ in range(2))
    assert (first, second) == (SOONEST, 1.0)  # three rounds of half a second, at 1.5 times the pace
    assert [destination.place_in_queue(100, now=0.0) for _ in range(9)][-1] == LATEST


def test_calls_without_an_answer_do_not_change_the_pace_of_a_destination() -> None:
    destination = Destination("bank", most=16)
    for _ in range(100):
        destination.note_end(started_at=0.0, failed=True, now=10.0)
    destination.place_in_queue(16, now=10.0)
    threshold, duration = FIRST / 2, 0.5
    assert destination.place_in_queue(1, now=10.0) == pytest.approx(
        16 / (1.5 * threshold / duration)
    )


def test_a_long_backlog_delays_later_messages_for_a_limited_time():
    destination = Destination("bank", most=16)
    for _ in range(1_000):
        destination.place_in_queue(100, now=0.0)
    assert destination.place_in_queue(1, now=LATEST) == SOONEST


def test_messages_come_back_at_the_pace_that_is_expected_after_the_first_rise() -> None:
    destination = Destination("bank", most=64)
    assert destination.limit.value == FIRST
    destination.place_in_queue(192, now=0.0)
    assert destination.place_in_queue(1, now=0.0) == 1.0
