"""A payment's page at its provider: only where Stripe has one, and in the right mode."""

import pytest

from backoffice.order_page.provider import provider_page
from payments.models import Payment
from tests.integration.orders import harness

CHARGE = "ch_3PqRsT2eZvKYlo2C0aBcDeFg"

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def stripe(settings):
    settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "sk_test_123", "https://api.stripe.com"


def payment(charge=CHARGE, gateway="stripe", **fields):
    return Payment(
        charge_id=charge, gateway=gateway, status="captured", amount=1, currency="eur", **fields
    )


@pytest.mark.parametrize(
    ("key", "mode"), [("sk_test_1", "/test"), ("rk_test_1", "/test"), ("sk_live_1", ""), ("", "")]
)
def test_a_payment_made_with_stripe_leads_to_its_page_in_the_mode_of_the_key(settings, key, mode):
    settings.STRIPE_API_KEY = key
    assert provider_page(payment()) == f"https://dashboard.stripe.com{mode}/payments/{CHARGE}"


def test_a_payment_of_the_simulated_gateway_has_no_page():
    assert provider_page(payment(gateway="simulated")) is None


def test_a_payment_without_a_charge_has_no_page():
    assert provider_page(payment(None)) is None


def test_a_payment_made_with_another_server_than_stripe_has_no_page(settings):
    settings.STRIPE_API_BASE = "http://127.0.0.1:9000"
    assert provider_page(payment()) is None


def test_a_charge_id_is_quoted_in_the_link():
    assert (
        provider_page(payment("py_/../..?x=1#"))
        == "https://dashboard.stripe.com/test/payments/py_%2F..%2F..%3Fx%3D1%23"
    )


def test_the_page_of_an_order_leads_to_stripe(viewer):
    order = harness.order()
    keys = {"payment_method": "pm_card_visa", "charge_key": "c", "refund_key": "r"}
    payment(order_id=order.id, **keys).save()
    page = viewer.get(f"/admin/orders/order/{order.id}/change/").content.decode()
    assert f'href="https://dashboard.stripe.com/test/payments/{CHARGE}"' in page
