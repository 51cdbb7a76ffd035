"""Made-up sequences of requests, each with what those before it were answered: every answer is as the schema says."""

from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.described import EXAMPLES, SAMPLED, SETTINGS, assert_valid

pytestmark = [pytest.mark.django_db(databases="__all__")]

LONGEST = 8
MACHINE: Any = SAMPLED.as_state_machine()


@contextmanager
def undone(alias):
    """Take back what is done in a database: the same sequence must meet the same answers, however often it is run."""
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


@pytest.mark.parametrize("role", ["staff", "customer"])
def test_whatever_follows_from_what_was_answered_is_answered_as_described(role, caller):
    class Sequence(MACHINE):
        def setup(self):
            self.undone = ExitStack()
            for alias in connections:
                self.undone.enter_context(undone(alias))

        def teardown(self):
            self.undone.close()
            super().teardown()

        def get_call_kwargs(self, case):
            return {"headers": caller}

        def validate_response(self, response, case, additional_checks=None, **kwargs):
            assert_valid(case, response, caller)

    run_state_machine_as_test(Sequence, settings=settings(SETTINGS, max_examples=EXAMPLES, stateful_step_count=LONGEST))
