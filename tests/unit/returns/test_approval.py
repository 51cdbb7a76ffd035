"""Which refunds need an approval: the limit of each currency is in its own minor units."""

import pytest
from django.test import override_settings

from returns.approval import needs_approval
from returns.status import Kind


@override_settings(RETURN_APPROVAL_LIMIT=50_000, RETURN_APPROVAL_LIMITS={"kwd": 150_000})
@pytest.mark.parametrize(
    ("amount", "currency", "needed"),
    [
        (50_000, "eur", False),
        (50_001, "eur", True),
        (150_000, "kwd", False),
        (150_001, "kwd", True),
        (1, "jpy", True),  # it has no limit of its own
        (1, "bhd", True),
    ],
)
def test_a_refund_above_the_limit_of_its_currency_needs_an_approval(amount, currency, needed):
    assert needs_approval(Kind.GOODS, amount, currency) is needed
    assert needs_approval(Kind.GOODWILL, amount, currency)
