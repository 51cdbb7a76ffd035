"""Read one object, or a list page by page, newest first, with Stripe's cursors and filters."""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError, not_found
from tools.stripe_sandbox.records import Record

__all__ = ["limit", "page", "retrieve_one"]

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
MAX_LIMIT = 100


def retrieve_one(call: Call, kind: type[Record], id: str) -> dict[str, Any]:
    """Return an object; raise a 404 error if it does not exist."""
    call.form.allow_only()
    record = call.store.find(kind, id)
    if record is None:
        raise not_found(kind.kind, id, param="id")

    return to_api_object(call.store, record)


def page(
    call: Call,
    kind: type[Record],
    url: str,
    filters: Mapping[str, Sequence[str]],
    *,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """Return one page of objects of a kind.

    `filters` maps fields to allowed values. An empty list allows all values.
    """
    call.form.allow_only("limit", "starting_after", "ending_before", "created", *filters, *also)
    most = limit(call)
    condition, values = _created(call)

    for name, wanted in filters.items():
        if wanted:
            condition += f" AND json_extract(body, '$.{name}') IN ({','.join('?' * len(wanted))})"
            values += wanted

    cursor, seq, order = _cursor(call, kind)
    found = call.store.select(
        kind, f"{condition} {cursor} ORDER BY seq {order} LIMIT ?", [*values, *seq, most + 1]
    )
    data = [to_api_object(call.store, record) for record in found[:most]]
    if order == "ASC":
        data.reverse()

    return {"object": "list", "url": url, "has_more": len(found) > most, "data": data}


def limit(call: Call) -> int:
    """Return the requested number of objects, 10 by default."""
    wanted = call.form.integer("limit", least=1)
    if wanted is not None and wanted > MAX_LIMIT:
        raise ApiError(
            f"limit must be at most {MAX_LIMIT}.",
            code="parameter_invalid_integer",
            param="limit",
        )

    return wanted or 10


def _created(call: Call) -> tuple[str, list[Any]]:
    if not call.form.has("created"):
        return "", []
    if isinstance(call.form.values["created"], str):
        return " AND created = ?", [call.form.integer("created")]

    window = call.form.inner("created")
    if window is None:
        return "", []

    window.allow_only(*COMPARISONS)
    names = [name for name in COMPARISONS if window.has(name)]
    return "".join(f" AND created {COMPARISONS[name]} ?" for name in names), [
        window.integer(name) for name in names
    ]


def _cursor(call: Call, kind: type[Record]) -> tuple[str, list[int], str]:
    """Return the SQL condition of the cursor, its values, and the sort order."""
    after, before = call.form.text("starting_after"), call.form.text("ending_before")
    if after and before:
        raise ApiError("Send starting_after or ending_before, not both.", param="ending_before")
    if after:
        return " AND seq < ?", [_seq(call, kind, after, "starting_after")], "DESC"
    if before:
        return " AND seq > ?", [_seq(call, kind, before, "ending_before")], "ASC"

    return "", [], "DESC"


def _seq(call: Call, kind: type[Record], id: str, param: str) -> int:
    rows = call.store.execute("SELECT seq FROM record WHERE id = ? AND kind = ?", [id, kind.kind])
    if not rows:
        raise not_found(kind.kind, id, param=param, status=400)
    return int(rows[0][0])
