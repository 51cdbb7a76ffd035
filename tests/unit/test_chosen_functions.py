"""Settings that name a function of another app are checked when a process starts."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from api.chosen_function import chosen_function
from orders.checks import check_choices

NO_FUNCTION = "not a function"


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("PRICE_CHECK", "orders.E002"),
        ("PAYMENT_SUMMARIES", "orders.E003"),
        ("STAFF_CANCEL", "orders.E004"),
    ],
)
@pytest.mark.parametrize(
    "wrong", ["", "payments", "payments.none", "no.such.module", f"{__name__}.NO_FUNCTION"]
)
def test_a_setting_without_a_function_is_reported_at_the_start(setting, error, wrong):
    with override_settings(**{setting: wrong}):
        assert [found.id for found in check_choices()] == [error]
        with pytest.raises(ImproperlyConfigured, match=setting):
            chosen_function(setting)
    assert check_choices() == []
    assert callable(chosen_function(setting))
