"""Pauses double with each attempt up to a limit, and jitter takes away at most half of a pause."""

import pytest

from sagas.backoff import exponential, exponential_sql, jittered


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (10_000, 60.0)]
)
def test_a_pause_doubles_with_each_attempt_up_to_the_longest(attempt, seconds):
    assert exponential(attempt, first=1.0, longest=60.0) == seconds


def test_the_sql_expression_has_the_same_limit_of_doublings():
    expression = exponential_sql("attempts", first="1.0", longest="60.0")

    assert expression == "LEAST(60.0, 1.0 * 2 ^ LEAST(attempts - 1, 20))"


def test_jitter_leaves_at_least_half_of_a_pause():
    assert all(5.0 <= jittered(10.0) <= 10.0 for _ in range(100))
