"""A card number is rejected, not repeated in the answer, and not written anywhere."""

import logging

import pytest

from orders.models import IdempotencyKey, Order, Outbox
from tests.integration.orders import harness

CARDS = [
    "4242424242424242",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "378282246310005",
    "4222222222222",
    "6304000000000000000",
    "card 5555.5555.5555.4444, 12/30",
    "pm_4242424242424242",
    "4242  4242  4242  4242 12 30 123",
    "12-30 4242424242424242",
]


@pytest.mark.parametrize("card", CARDS)
def test_a_card_number_is_refused_and_neither_repeated_nor_logged(ada, mug, caplog, card):
    caplog.set_level(logging.DEBUG)
    answer = harness.place(ada, harness.body_for(payment_method=card))
    assert answer.status_code == 400
    assert harness.fields(answer) == {"payment_method": "card_number"}
    digits = "".join(filter(str.isdigit, card))
    for told in (answer.content.decode(), caplog.text):
        assert card not in told
        assert digits not in told
        assert "4242" not in told
    assert not Order.objects.exists()
    assert not Outbox.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    "method",
    [
        "pm_card_visa",
        "pm_1MqLiJLkdIwHu7ixUEgbFdYF",
        "4242424242424243",
        "424242424242",
        "tok-0123-4567-89",
    ],
)
def test_a_gateways_name_is_taken(ada, mug, method):
    assert harness.place(ada, harness.body_for(payment_method=method)).status_code == 201
