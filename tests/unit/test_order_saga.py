"""ORDER_SAGA names a saga that there is, or nothing starts."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from orders.checks import check_choices
from orders.saga import SAGAS, chosen_saga
from sagas.checks.plans import check_plan


@pytest.mark.parametrize("name", sorted(SAGAS))
def test_each_saga_can_be_chosen_and_is_sound(name: str) -> None:
    with override_settings(ORDER_SAGA=name):
        assert chosen_saga() is SAGAS[name]
        assert check_choices() == []
    assert check_plan(SAGAS[name].plan) == []


@pytest.mark.parametrize("wrong", ["", "place_order", "Authorize_first"])
def test_another_name_is_refused_with_those_there_are(wrong: str) -> None:
    with override_settings(ORDER_SAGA=wrong):
        with pytest.raises(
            ImproperlyConfigured,
            match=f"{wrong!r}. Set it to one of: authorize_first, charge_first",
        ):
            chosen_saga()
        assert [error.id for error in check_choices()] == ["orders.E001"]
