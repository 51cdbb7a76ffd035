"""Search payment intents with a part of Stripe's query language: conditions joined by AND."""

import re
from typing import Any

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.pagination import limit
from tools.stripe_sandbox.records import Intent

__all__ = ["search"]

URL = "/v1/payment_intents/search"
CLAUSE = re.compile(
    r"""\s*(?:metadata\[(?P<q>["'])(?P<key>.*?)(?P=q)\]|(?P<field>[a-z_]+))\s*(?P<operator>:|>=|<=|>|<)\s*"""
    r"""(?:(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)|(?P<number>[0-9]{1,18}))\s*(?P<and>AND\b|$)""",
    re.IGNORECASE | re.DOTALL,
)
TEXT_FIELDS = ("currency", "status")
NUMBER_FIELDS = ("amount", "created")


def search(call: Call) -> dict[str, Any]:
    """GET /v1/payment_intents/search, newest first.

    Stripe's search lags by up to a minute. This search lags only with the fault `stale`.
    """
    call.form.allow_only("query", "limit", "page")
    condition, values = _condition(call.form.required("query"))

    if call.invisible_after is not None:
        condition += " AND created <= ?"
        values.append(call.invisible_after)

    most, skip = limit(call), call.form.integer("page") or 0
    found = call.store.select(
        Intent, f"{condition} ORDER BY seq DESC LIMIT ? OFFSET ?", [*values, most + 1, skip]
    )
    more = len(found) > most

    return {
        "object": "search_result",
        "url": URL,
        "has_more": more,
        "next_page": str(skip + most) if more else None,
        "data": [to_api_object(call.store, intent) for intent in found[:most]],
    }


def _condition(query: str) -> tuple[str, list[Any]]:
    """Translate the query to an SQL condition and its values."""
    sql, rest = "", query
    values: list[Any] = []

    while True:
        clause = CLAUSE.match(rest)
        if clause is None:
            raise _invalid_query(query)

        condition, more = _clause(clause, query)
        sql, values, rest = f"{sql} AND {condition}", [*values, *more], rest[clause.end() :]
        if not clause["and"]:
            return sql, values


def _clause(clause: re.Match[str], query: str) -> tuple[str, list[Any]]:
    field, operator, number = clause["field"], clause["operator"], clause["number"]
    text = re.sub(r"\\(.)", r"\1", clause["text"] or "")
    if clause["key"] is not None and operator == ":" and number is None:
        return "id IN (SELECT id FROM tag WHERE key = ? AND value = ?)", [clause["key"], text]
    if field in TEXT_FIELDS and operator == ":" and number is None:
        return f"json_extract(body, '$.{field}') = ?", [text]

    if field in NUMBER_FIELDS and re.fullmatch("[0-9]{1,18}", number or text):
        return f"json_extract(body, '$.{field}') {operator.replace(':', '=')} ?", [
            int(number or text)
        ]

    raise _invalid_query(query)


def _invalid_query(query: str) -> ApiError:
    return ApiError(
        f"The sandbox cannot parse the query {query!r}. It supports metadata['key']:'value', "
        "status, currency, amount and created, joined by AND.",
        param="query",
    )
