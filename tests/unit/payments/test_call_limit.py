"""Stripe's own API has a default limit of orders per second; another server has none."""

import pytest

from payments.gateway_requests import default_limit
from sagas.definition.limits import Limit


@pytest.mark.parametrize(("key", "most"), [("sk_live_x", 40), ("sk_test_x", 10), ("rk_test_x", 10)])
def test_the_limit_depends_on_the_mode_of_the_key(settings, key, most):
    settings.STRIPE_API_KEY = key
    settings.STRIPE_API_BASE = "https://api.stripe.com"
    assert default_limit("stripe") == Limit(per_second=most)


def test_another_server_another_gateway_and_a_step_have_no_limit(settings):
    settings.STRIPE_API_BASE = "http://localhost:1234"
    assert default_limit("stripe") is None
    assert default_limit("simulated") is None
    assert default_limit("payments.charge") is None
