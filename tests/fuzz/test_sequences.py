"""Made-up sequences of requests, each with what those before it were answered: every answer is as the schema says."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.described import EXAMPLES, SAMPLED, SETTINGS, assert_valid

pytestmark = [pytest.mark.django_db(databases="__all__")]

LONGEST = 8
MACHINE: Any = SAMPLED.as_state_machine()


@pytest.mark.parametrize("role", ["staff", "customer"])
def test_whatever_follows_from_what_was_answered_is_answered_as_described(role, caller):
    class Sequence(MACHINE):
        def get_call_kwargs(self, case):
            return {"headers": caller}

        def validate_response(self, response, case, additional_checks=None, **kwargs):
            assert_valid(case, response, caller)

    run_state_machine_as_test(Sequence, settings=settings(SETTINGS, max_examples=EXAMPLES, stateful_step_count=LONGEST))
