"""The texts of a form: bounded, and without characters that PostgreSQL refuses."""

from django.http import HttpRequest

from staff.writes import Rejected

__all__ = ["MOST_REASON", "read_text"]

# Characters of a reason.
MOST_REASON = 500


def read_text(request: HttpRequest, name: str, most: int) -> str:
    """Return an input without the spaces around it. Raises `Rejected`."""
    text = request.POST.get(name, "").strip()
    if "\0" in text or len(text) > most:
        raise Rejected(f"“{name}” has at most {most} characters, and no NUL.")
    return text
