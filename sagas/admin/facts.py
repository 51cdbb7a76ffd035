"""Shows the facts of a saga on the pages of the admin."""

from urllib.parse import urlsplit

from django.utils.html import format_html
from django.utils.safestring import SafeString

from sagas.currencies import with_currency
from sagas.kinds import Fact, Money

__all__ = ["fact_in_html", "fact_text", "linked"]

# The schemes of an address that a browser opens as a page. An address may come from a row, and with
# another scheme, such as "javascript", a click would run its text.
SCHEMES = frozenset({"", "http", "https"})


def fact_text(value: str | Money) -> str:
    """Return the value of a fact in words."""
    return with_currency(value.amount, value.currency) if isinstance(value, Money) else value


def fact_in_html(fact: Fact) -> SafeString:
    """Return the value of a fact, as a link if it has the address of a page.

    A link to another saga is on the page of the saga only, which knows the rights of its viewer.
    """
    text = fact_text(fact.value)
    if isinstance(fact.link, str) and _is_of_page(fact.link):
        return linked(fact.link, text)
    return format_html("{}", text)


def linked(address: str, text: object) -> SafeString:
    """Return a link."""
    return format_html('<a class="underline" href="{}">{}</a>', address, text)


def _is_of_page(address: str) -> bool:
    try:
        return urlsplit(address).scheme in SCHEMES
    except ValueError:
        return False
