"""With Stripe, a process refuses to start and names each setting that is missing or dangerous."""

from typing import Any

import pytest
from django.test import override_settings

from payments.checks import check_gateway

WELL = {
    "PAYMENT_GATEWAY": "stripe",
    "STRIPE_API_KEY": "sk_test_x",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "STRIPE_WEBHOOK_SECRET": "whsec_x",
    "SAGA_LEASE_SECONDS": 30,
    "CELERY_TASK_SOFT_TIME_LIMIT": 40,
}


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({}, []),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, []),
        ({"STRIPE_API_KEY": ""}, ["payments.E002"]),
        ({"STRIPE_WEBHOOK_SECRET": ""}, ["payments.E003"]),
        ({"STRIPE_API_BASE": "http://stripe.example"}, ["payments.E004"]),
        ({"STRIPE_API_BASE": ""}, ["payments.E004"]),
        ({"SAGA_LEASE_SECONDS": 25}, ["payments.W001"]),
        ({"CELERY_TASK_SOFT_TIME_LIMIT": 20}, ["payments.W001"]),
    ],
)
def test_each_wrong_setting_is_reported(changed: dict[str, Any], ids: list[str]) -> None:
    with override_settings(**WELL | changed):
        found = check_gateway()
    assert [message.id for message in found] == ids
    assert "sk_test_x" not in str(found)
    assert "whsec_x" not in str(found)
