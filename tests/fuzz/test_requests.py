"""Generated requests to every operation: no server errors, and every answer fits the schema."""

import pytest

from tests.fuzz.described import SAMPLED, SETTINGS, THOROUGH, assert_as_described

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]


@pytest.mark.parametrize("role", ["staff"])
@THOROUGH.parametrize()
@SETTINGS
def test_whatever_staff_send_is_answered_as_described(case, role, caller):
    assert_as_described(case, caller)


@pytest.mark.parametrize("role", ["customer", "anonymous"])
@SAMPLED.parametrize()
@SETTINGS
def test_whatever_others_send_is_answered_as_described(case, role, caller):
    assert_as_described(case, caller)
