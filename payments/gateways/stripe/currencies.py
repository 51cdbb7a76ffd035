"""Stripe's rules for currencies: https://docs.stripe.com/currencies"""

from collections.abc import Iterator

from payments.gateways.currencies import Currency, GatewayCurrencies
from sagas.currencies import exponent_of

__all__ = ["STRIPE_CURRENCIES", "from_stripe", "is_expressible", "is_refundable", "to_stripe"]

# https://docs.stripe.com/currencies#presentment-currencies
SUPPORTED = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad
cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd
hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl
mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg
qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah
ugx usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
"""

# Where Stripe's decimals are not those of ISO 4217: https://docs.stripe.com/currencies#zero-decimal
# and #special-cases. ISK and UGX have no decimals any more, but Stripe still counts hundredths.
# Stripe counts whole MGA; ISO 4217 gives the ariary two decimals.
STRIPE_EXPONENTS = {"isk": 2, "ugx": 2, "mga": 0}

# The last digit must be 0: https://docs.stripe.com/currencies#three-decimal
THREE_DECIMALS_STEP = 10

# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, in Stripe's units. The
# minimum belongs to the currency that the account is paid in. A charge in another currency is
# compared at Stripe's rate, so Stripe alone can refuse it.
MINIMUMS = {
    **dict.fromkeys(("usd", "ars", "aud", "brl", "cad", "chf", "cop", "eur", "idr", "ils"), 50),
    **dict.fromkeys(("inr", "nzd", "php", "rub", "sgd", "zar", "jpy", "krw"), 50),
    **dict.fromkeys(("aed", "myr", "pln", "ron"), 200),
    **dict.fromkeys(("nok", "sek"), 300),
    **dict.fromkeys(("mxn", "thb"), 1000),
    "czk": 1500,
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
}

# Eight digits, and more for these currencies. Some payment methods allow less.
USUAL_MAXIMUM = 10**8 - 1
MAXIMUMS = {
    "cop": 10**10 - 1,
    "huf": 10**10 - 1,
    "idr": 10**12 - 1,
    "inr": 10**9 - 1,
    "jpy": 10**10 - 1,
    "lbp": 10**11 - 1,
}


def _table() -> Iterator[tuple[str, Currency]]:
    for code in SUPPORTED.split():
        exponent = exponent_of(code)
        gateway_exponent = STRIPE_EXPONENTS.get(code, exponent)
        # One unit of Stripe's, in minor units; below 1 if Stripe's unit is the smaller one.
        unit = 10 ** max(0, exponent - gateway_exponent)
        units_per_minor = 10 ** max(0, gateway_exponent - exponent)
        yield (
            code,
            Currency(
                exponent=exponent,
                gateway_exponent=gateway_exponent,
                step=THREE_DECIMALS_STEP if exponent == 3 else unit,
                minimum=MINIMUMS.get(code, 1) * unit,
                maximum=MAXIMUMS.get(code, USUAL_MAXIMUM) * unit // units_per_minor,
            ),
        )


STRIPE_CURRENCIES = GatewayCurrencies(name="Stripe", table=dict(_table()))


def to_stripe(amount: int, currency: str) -> int:
    """Return an amount of minor units in Stripe's units. Raise ValueError if Stripe has no such."""
    return STRIPE_CURRENCIES.to_gateway(amount, currency)


def is_expressible(amount: int, currency: str) -> bool:
    """Tell whether Stripe's units can express an amount of minor units."""
    try:
        to_stripe(amount, currency)
    except ValueError:
        return False
    return True


def is_refundable(amount: int, currency: str) -> bool:
    """Tell whether Stripe has an amount of minor units, in the steps of the currency."""
    rules = STRIPE_CURRENCIES.table.get(currency)
    return rules is not None and amount % rules.step == 0


def from_stripe(units: int, currency: str) -> int:
    """Return an amount of Stripe's units in minor units of ISO 4217."""
    return STRIPE_CURRENCIES.from_gateway(units, currency)
