"""The currencies of ISO 4217: amounts in minor units, as all services count and write them."""

from collections.abc import Mapping

__all__ = ["HUNDREDTHS", "ISO_EXPONENTS", "decimal", "exponent_of", "limit_of", "with_currency"]

# Currencies whose minor unit is not a hundredth: https://www.iso.org/iso-4217-currency-codes.html
ISO_EXPONENTS: Mapping[str, int] = {
    **dict.fromkeys(("bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "pyg"), 0),
    **dict.fromkeys(("rwf", "ugx", "uyi", "vnd", "vuv", "xaf", "xof", "xpf"), 0),
    **dict.fromkeys(("bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd"), 3),
    **dict.fromkeys(("clf", "uyw"), 4),
}
HUNDREDTHS = 2


def exponent_of(currency: str) -> int:
    """Return the number of decimals of a currency's minor unit, by ISO 4217."""
    return ISO_EXPONENTS.get(currency.lower(), HUNDREDTHS)


def decimal(amount: int, currency: str) -> str:
    """Write an amount of minor units as a decimal number of the currency: `1,250.00`."""
    exponent = exponent_of(currency)
    whole, fraction = divmod(abs(amount), 10**exponent)
    sign = "−" if amount < 0 else ""
    return f"{sign}{whole:,}" + (f".{fraction:0{exponent}}" if exponent else "")


def with_currency(amount: int, currency: str) -> str:
    """Write an amount of minor units with its currency: `12.50 EUR`."""
    return f"{decimal(amount, currency)} {currency.upper()}"


def limit_of(currency: str, own: Mapping[str, int], usual: int) -> int | None:
    """Return the limit for a currency, in its minor units; None if it has none.

    `own` has the limits of single currencies. `usual` is in hundredths, so it holds only for the
    currencies that are counted in them.
    """
    if currency in own:
        return own[currency]
    return usual if exponent_of(currency) == HUNDREDTHS else None
