"""An amount in minor units and Stripe's amount are the same money, or there is a reason."""

import pytest

from payments.gateways.stripe import StripeGateway
from payments.gateways.stripe.currencies import STRIPE_CURRENCIES
from sagas.currencies import with_currency


@pytest.mark.parametrize(
    ("amount", "currency", "in_stripe", "in_words"),
    [
        (1250, "eur", 1250, "12.50 EUR"),
        (5000, "jpy", 5000, "5,000 JPY"),
        (5000, "isk", 500_000, "5,000 ISK"),
        (5000, "ugx", 500_000, "5,000 UGX"),
        (125_000, "mga", 1250, "1,250.00 MGA"),
        (12_340, "kwd", 12_340, "12.340 KWD"),
        (100_045, "huf", 100_045, "1,000.45 HUF"),
        (80_045, "twd", 80_045, "800.45 TWD"),
        (7, "xyz", 7, "0.07 XYZ"),
    ],
)
def test_an_amount_is_the_same_money_in_both_units(
    amount: int, currency: str, in_stripe: int, in_words: str
) -> None:
    assert STRIPE_CURRENCIES.to_gateway(amount, currency) == in_stripe
    assert STRIPE_CURRENCIES.from_gateway(in_stripe, currency) == amount
    assert with_currency(amount, currency) == in_words


def test_a_part_of_stripes_unit_is_not_rounded() -> None:
    with pytest.raises(ValueError, match=r"last digit of 12\.55 MGA"):
        STRIPE_CURRENCIES.to_gateway(1255, "mga")


def test_a_part_of_a_minor_unit_is_rounded_to_the_nearest_one() -> None:
    assert STRIPE_CURRENCIES.from_gateway(5049, "isk") == 50
    assert STRIPE_CURRENCIES.from_gateway(5050, "isk") == 51


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        (50, "eur", ""),
        (49, "eur", "Stripe charges at least 0.50 EUR."),
        (29, "gbp", "Stripe charges at least 0.30 GBP."),
        (49, "jpy", "Stripe charges at least 50 JPY."),
        (99_999_999, "eur", ""),
        (100_000_000, "eur", "Stripe charges at most 999,999.99 EUR."),
        (999_999_999_999, "idr", ""),
        (1, "isk", ""),
        (999_999, "isk", ""),
        (1_000_000, "isk", "Stripe charges at most 999,999 ISK."),
        (125_000, "mga", ""),
        (125_050, "mga", "Stripe charges MGA only in steps of 1.00."),
        (12_340, "kwd", ""),
        (12_345, "kwd", "Stripe charges KWD only in steps of 0.010."),
        (12_340, "iqd", "Stripe does not charge in IQD."),
        (1250, "xyz", "Stripe does not charge in XYZ."),
    ],
)
def test_an_amount_that_stripe_cannot_charge_has_a_reason(
    amount: int, currency: str, reason: str
) -> None:
    assert StripeGateway.reason_not_chargeable(amount, currency) == reason


@pytest.mark.parametrize("currency", sorted(STRIPE_CURRENCIES.table))
def test_every_chargeable_amount_has_an_exact_amount_of_stripes(currency: str) -> None:
    rules = STRIPE_CURRENCIES.table[currency]
    least = -(-rules.minimum // rules.step) * rules.step
    most = rules.maximum // rules.step * rules.step
    for amount in (least, least + rules.step, most):
        assert STRIPE_CURRENCIES.reason_not_chargeable(amount, currency) == ""
        in_stripe = STRIPE_CURRENCIES.to_gateway(amount, currency)
        assert STRIPE_CURRENCIES.from_gateway(in_stripe, currency) == amount
