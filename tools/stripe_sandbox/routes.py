"""The routes of the API: method, path, operation name and handler."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tools.stripe_sandbox import (
    balance,
    balance_transactions,
    charges,
    disputes,
    events,
    intents,
    refunds,
)
from tools.stripe_sandbox.search import search

__all__ = ["Route", "find"]


class Route(NamedTuple):
    """A route. Fault rules select it by `operation`."""

    method: str
    path: re.Pattern[str]
    operation: str
    handler: Callable[..., dict[str, Any]]


def _route(method: str, path: str, operation: str, handler: Callable[..., dict[str, Any]]) -> Route:
    return Route(method, re.compile(path.replace("{id}", "([^/]+)")), operation, handler)


ROUTES = (
    _route("POST", "/v1/payment_intents", "payment_intents.create", intents.create),
    _route("GET", "/v1/payment_intents", "payment_intents.list", intents.list_all),
    _route("GET", "/v1/payment_intents/search", "payment_intents.search", search),
    _route("GET", "/v1/payment_intents/{id}", "payment_intents.retrieve", intents.retrieve),
    _route("POST", "/v1/payment_intents/{id}/confirm", "payment_intents.confirm", intents.confirm),
    _route("POST", "/v1/payment_intents/{id}/capture", "payment_intents.capture", intents.capture),
    _route("POST", "/v1/payment_intents/{id}/cancel", "payment_intents.cancel", intents.cancel),
    _route("GET", "/v1/charges", "charges.list", charges.list_all),
    _route("GET", "/v1/charges/{id}", "charges.retrieve", charges.retrieve),
    _route("GET", "/v1/payment_methods/{id}", "payment_methods.retrieve", charges.retrieve_method),
    _route("POST", "/v1/refunds", "refunds.create", refunds.create),
    _route("GET", "/v1/refunds", "refunds.list", refunds.list_all),
    _route("GET", "/v1/refunds/{id}", "refunds.retrieve", refunds.retrieve),
    _route("GET", "/v1/disputes", "disputes.list", disputes.list_all),
    _route("GET", "/v1/disputes/{id}", "disputes.retrieve", disputes.retrieve),
    _route("GET", "/v1/balance", "balance.retrieve", balance.retrieve),
    _route(
        "GET",
        "/v1/balance_transactions",
        "balance_transactions.list",
        balance_transactions.list_all,
    ),
    _route(
        "GET",
        "/v1/balance_transactions/{id}",
        "balance_transactions.retrieve",
        balance_transactions.retrieve,
    ),
    _route("GET", "/v1/events", "events.list", events.list_all),
    _route("GET", "/v1/events/{id}", "events.retrieve", events.retrieve),
)


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """Return the route of a request, with the ids in its path."""
    for route in ROUTES:
        found = route.path.fullmatch(path)
        if found and route.method == method:
            return route, found.groups()

    return None
