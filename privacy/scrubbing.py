"""Replaces personal data in texts and JSON documents."""

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["FORGOTTEN", "Scrubber"]

FORGOTTEN = "forgotten"

# Fields of messages and events, at any depth. A recovery does without the removed ones.
REPLACED = frozenset({"payment_method"})
REMOVED = frozenset({"idempotency_key", "fingerprint", "request_id", "url"})

# Fields with names and codes of the system. A customer chooses the user name and the payment
# method, so they may be equal to a SKU or a currency, and the books need those.
CODED = frozenset(
    {
        "abort",
        "charge_id",
        "code",
        "currency",
        "decline_code",
        "dispute_id",
        "failed_step",
        "method",
        "plan",
        "saga",
        "service",
        "sku",
        "status",
        "step",
        "steps",
        "subject",
        "target",
        "type",
    }
)


class Scrubber:
    """Replaces the given words where they stand alone, and the fields about the person."""

    def __init__(self, words: Iterable[str]) -> None:
        """Take the words that identify the person, such as the user name."""
        longest_first = sorted({word for word in words if word and word != FORGOTTEN}, key=len)[
            ::-1
        ]
        alternatives = "|".join(re.escape(word) for word in longest_first)
        self._words = (
            re.compile(rf"(?<![\w@-])(?:{alternatives})(?![\w@-])", re.IGNORECASE)
            if alternatives
            else None
        )

    def text(self, text: str) -> str:
        """Return a text without the words."""
        return self._words.sub(FORGOTTEN, text) if self._words else text

    def column(self, name: str, value: Any) -> Any:
        """Return the value of a column without the person."""
        if name in REPLACED:
            return FORGOTTEN
        if name in CODED:
            return value
        return self.text(value) if isinstance(value, str) else self.document(value)

    def document(self, value: Any) -> Any:
        """Return a document without the words and the fields, at any depth."""
        match value:
            case dict():
                return {
                    name: self.column(name, item)
                    for name, item in value.items()
                    if name not in REMOVED
                }
            case list():
                return [self.document(item) for item in value]
            case str():
                return self.text(value)
        return value
