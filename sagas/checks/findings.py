"""The result of a check: one fault of a declaration or a setting."""

from typing import NamedTuple

from django.core.checks import CheckMessage, Error

__all__ = ["Finding"]


class Finding(NamedTuple):
    """A fault: the id of its check, a text, and a hint for the developer."""

    id: str
    text: str
    hint: str

    def error(self, prefix: str = "") -> CheckMessage:
        """Return the finding as an error of Django's checks."""
        return Error(f"{prefix}{self.text}", hint=self.hint, id=self.id)
