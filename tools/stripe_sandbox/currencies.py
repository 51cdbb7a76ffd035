"""Stripe's currencies, and the amounts that can be charged: https://docs.stripe.com/currencies

All amounts are in Stripe's units: hundredths, except for the zero-decimal and the three-decimal
currencies. Stripe counts ISK and UGX in hundredths, too.
"""

from tools.stripe_sandbox.errors import ApiError

__all__ = ["require_chargeable", "require_step", "round_down", "supported"]

CODES = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad
cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd
hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl
mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg
qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah
ugx usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
"""
CURRENCIES = frozenset(CODES.split())
ZERO_DECIMAL = {
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf"),
    *("xof", "xpf"),
}
THREE_DECIMAL = {"bhd", "jod", "kwd", "omr", "tnd"}

# https://docs.stripe.com/currencies#special-cases: ISK and UGX have no hundredths any more, and the
# last digit of a three-decimal amount must be 0.
STEPS = {"isk": 100, "ugx": 100, **dict.fromkeys(THREE_DECIMAL, 10)}

# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
USUAL_LEAST, USUAL_MOST = 1, 10**8 - 1
LEAST = {
    **dict.fromkeys(("ars", "aud", "brl", "cad", "chf", "cop", "eur", "idr", "ils", "inr"), 50),
    **dict.fromkeys(("jpy", "krw", "nzd", "php", "rub", "sgd", "usd", "zar"), 50),
    **dict.fromkeys(("aed", "myr", "pln", "ron"), 200),
    **dict.fromkeys(("nok", "sek"), 300),
    **dict.fromkeys(("mxn", "thb"), 1000),
    "czk": 1500,
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
}
MOST = {
    "cop": 10**10 - 1,
    "huf": 10**10 - 1,
    "idr": 10**12 - 1,
    "inr": 10**9 - 1,
    "jpy": 10**10 - 1,
    "lbp": 10**11 - 1,
}


def supported(currency: str) -> str:
    """Return the code in lower case; raise a 400 error for a currency that Stripe does not have."""
    code = currency.lower()
    if code not in CURRENCIES:
        raise ApiError(
            f"Invalid currency: {code}. Stripe currently supports these currencies: "
            f"{', '.join(sorted(CURRENCIES))}",
            param="currency",
        )

    return code


def require_chargeable(amount: int, currency: str) -> None:
    """Raise a 400 error for an amount that is too small or too large, or has a wrong last digit."""
    least, most = LEAST.get(currency, USUAL_LEAST), MOST.get(currency, USUAL_MOST)
    if amount < least:
        raise ApiError(
            f"Amount must be at least {in_words(least, currency)}.",
            code="amount_too_small",
            param="amount",
        )
    if amount > most:
        raise ApiError(
            f"Amount must be no more than {in_words(most, currency)}.",
            code="amount_too_large",
            param="amount",
        )

    require_step(amount, currency)


def require_step(amount: int, currency: str, *, param: str = "amount") -> None:
    """Raise a 400 error for an amount between the steps of a currency.

    The rule is for charges, captures, refunds and disputes.
    """
    step = STEPS.get(currency, 1)
    if amount % step:
        raise ApiError(
            f"Invalid amount: {amount}. An amount in {currency} must be a multiple of {step}.",
            code="invalid_charge_amount",
            param=param,
        )


def round_down(amount: int, currency: str) -> int:
    """Return the largest amount up to `amount` that a currency has, at least one step."""
    step = STEPS.get(currency, 1)
    return max(amount // step, 1) * step


def in_words(amount: int, currency: str) -> str:
    """Write an amount with its currency: `0.50 eur`, `50 jpy`."""
    decimals = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    whole, fraction = divmod(amount, 10**decimals)
    return f"{whole:,}{f'.{fraction:0{decimals}}' if decimals else ''} {currency}"
