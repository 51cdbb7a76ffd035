"""Amounts as people read them."""

__all__ = ["format_money"]

# ISO 4217 currencies whose minor unit is not a hundredth:
# https://www.iso.org/iso-4217-currency-codes.html
DIGITS = {
    **dict.fromkeys(
        ("bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "pyg", "rwf", "ugx", "uyi"), 0
    ),
    **dict.fromkeys(("vnd", "vuv", "xaf", "xof", "xpf"), 0),
    **dict.fromkeys(("bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd"), 3),
}


def format_money(amount: int, currency: str) -> str:
    """Format an amount in minor units of its currency: `12.50 EUR`."""
    digits = DIGITS.get(currency, 2)
    whole, fraction = divmod(abs(amount), 10**digits)

    sign = "−" if amount < 0 else ""
    shown = f"{whole:,}.{fraction:0{digits}}" if digits else f"{whole:,}"
    return f"{sign}{shown} {currency.upper()}"
