"""Generated sequences of requests that use earlier answers: every answer fits the schema."""

from contextlib import ExitStack, contextmanager

import pytest
from django.db import connections, transaction
from hypothesis import given, strategies

from tests.fuzz.described import SETTINGS, assert_valid
from tests.fuzz.steps import STEPS, Seen

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]

SHORTEST, LONGEST = 3, 10


@contextmanager
def undone(alias):
    """Roll back all changes, so that a repeated sequence gets the same answers."""
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


@pytest.mark.parametrize("role", ["staff", "customer"])
@SETTINGS
@given(sequence=strategies.lists(STEPS, min_size=SHORTEST, max_size=LONGEST))
def test_whatever_follows_from_what_was_answered_is_answered_as_described(role, caller, sequence):
    seen = Seen()
    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(undone(alias))
        for step in sequence:
            case = seen.fill(step)
            for _ in range(step.times):
                response = case.call(headers=caller)
                seen.note(case, response)
                assert_valid(case, response, caller)
