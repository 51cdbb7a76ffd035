"""The currencies of the simulated gateway: all of ISO 4217, each in its own minor units."""

from payments.gateways.currencies import Currency, GatewayCurrencies
from sagas.currencies import exponent_of

__all__ = ["CURRENCIES"]

# https://www.iso.org/iso-4217-currency-codes.html, without funds, metals and test codes.
CODES = """
    aed afn all amd aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd
    cad cdf chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip
    gmd gnf gtq gyd hkd hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd
    kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn
    nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sdg sek sgd shp
    sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs uah ugx usd uyu uzs ved ves
    vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg
"""

# In minor units. The ledger's column could hold nine times as much.
MAXIMUM = 10**18 - 1


def _rules(code: str) -> Currency:
    exponent = exponent_of(code)
    return Currency(
        exponent=exponent, gateway_exponent=exponent, step=1, minimum=1, maximum=MAXIMUM
    )


CURRENCIES = GatewayCurrencies(
    name="The simulated gateway", table={code: _rules(code) for code in CODES.split()}
)
