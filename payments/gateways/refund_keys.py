"""The sequence of keys of a refund: the key itself, then numbered successors."""

import re

__all__ = ["is_key_of", "numbered"]


def numbered(key: str, number: int) -> str:
    """Return the key with a number. The first one is the key itself."""
    return key if number == 1 else f"{key}-{number}"


def is_key_of(used: str, key: str) -> bool:
    """Tell whether a used key is `key` or one of its numbered successors."""
    return re.fullmatch(re.escape(key) + r"(-\d+)?", used) is not None
