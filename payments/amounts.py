"""How messages to operators name an amount of money."""

__all__ = ["in_words"]


def in_words(amount: int, currency: str) -> str:
    """Return an amount of minor units with its currency, as `1250 eur (minor units)`."""
    return f"{amount} {currency} (minor units)"
