"""Which prices can be charged: the currencies of ISO 4217, and the rules of the payment gateway.

Orders must not import payments, so the setting PRICE_CHECK names the gateway's function by its
dotted path.
"""

from collections.abc import Callable

from api.chosen_function import chosen_function
from orders.free_products import NOT_ALLOWED, least_amount
from orders.models import MAX_AMOUNT, MAX_QUANTITY

__all__ = [
    "CURRENCIES",
    "is_currency",
    "reason_not_chargeable",
    "reason_not_sellable",
]

# Takes an amount in minor units and a currency; returns in words why the amount cannot be charged,
# or an empty text.
PriceCheck = Callable[[int, str], str]

# The codes of ISO 4217 that have a minor unit, and two that it withdrew in 2025. Metals, units of
# account and test codes have none: https://www.iso.org/iso-4217-currency-codes.html
_CODES = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob bov brl bsd btn
bwp byn bzd cad cdf che chf chw clf clp cny cop cou crc cup cve czk djf dkk dop dzd egp ern
etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr iqd irr isk jmd
jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd mmk mnt
mop mru mur mvr mwk mxn mxv myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg
qar ron rsd rub rwf sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt
tnd top try ttd twd tzs uah ugx usd usn uyi uyu uyw uzs ved ves vnd vuv wst xaf xcd xcg xof
xpf yer zar zmw zwg
"""
CURRENCIES = frozenset(_CODES.split())

# Numbers of pieces to try. None has the factor 2 or 5, so an amount whose last digits cannot be
# charged stays such an amount. A price below the gateway's minimum passes with more pieces.
QUANTITIES = tuple(3**power for power in range(9) if 3**power <= MAX_QUANTITY)


def is_currency(code: str) -> bool:
    """Tell whether a lower-case code is a currency of ISO 4217 in which amounts can be counted."""
    return code in CURRENCIES


def reason_not_chargeable(amount: int, currency: str) -> str:
    """Return in words why an amount of minor units cannot be charged; empty if it can.

    The gateway is not asked about an amount of 0, because it charges nothing then.
    """
    if not is_currency(currency):
        return f"{currency.upper()} is not a currency of ISO 4217."
    if amount == 0:
        return NOT_ALLOWED if least_amount() > 0 else ""
    check: PriceCheck = chosen_function("PRICE_CHECK")
    return check(amount, currency)


def reason_not_sellable(unit_amount: int, currency: str) -> str:
    """Return in words why no number of pieces at this price can be charged; empty if one can."""
    reason = reason_not_chargeable(unit_amount, currency)
    if not reason:
        return ""
    amounts = (unit_amount * pieces for pieces in QUANTITIES)
    more = (amount for amount in amounts if amount <= MAX_AMOUNT)
    return reason if all(reason_not_chargeable(amount, currency) for amount in more) else ""
