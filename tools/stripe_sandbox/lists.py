"""Objects to be read: one, or page by page, newest first, with the cursors and the filters that
Stripe's lists have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError, no_such
from tools.stripe_sandbox.records import Record
from tools.stripe_sandbox.shapes import shape

__all__ = ["limit", "one", "page"]

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
MOST = 100


def one(call: Call, kind: type[Record], id: str) -> dict[str, Any]:
    """Return an object; raise a 404 where there is none."""
    call.form.only()
    record = call.books.find(kind, id)
    if record is None:
        raise no_such(kind.kind, id, param="id")
    return shape(call.books, record)


def page(
    call: Call,
    kind: type[Record],
    url: str,
    filters: Mapping[str, Sequence[str]],
    *,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """Return one page of a kind. `filters`: for fields of the objects, the values to keep; none
    keeps all.
    """
    call.form.only("limit", "starting_after", "ending_before", "created", *filters, *also)
    most = limit(call)
    condition, values = _created(call)
    for name, wanted in filters.items():
        if wanted:
            condition += f" AND json_extract(body, '$.{name}') IN ({','.join('?' * len(wanted))})"
            values += wanted
    cursor, seq, order = _cursor(call, kind)
    found = call.books.select(
        kind, f"{condition} {cursor} ORDER BY seq {order} LIMIT ?", [*values, *seq, most + 1]
    )
    data = [shape(call.books, record) for record in found[:most]]
    if order == "ASC":
        data.reverse()
    return {"object": "list", "url": url, "has_more": len(found) > most, "data": data}


def limit(call: Call) -> int:
    """Return how many are wanted, 10 where nothing is said."""
    wanted = call.form.integer("limit", least=1)
    if wanted is not None and wanted > MOST:
        raise ApiError(
            f"A page has up to {MOST} objects.", code="parameter_invalid_integer", param="limit"
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
    window.only(*COMPARISONS)
    names = [name for name in COMPARISONS if window.has(name)]
    return "".join(f" AND created {COMPARISONS[name]} ?" for name in names), [
        window.integer(name) for name in names
    ]


def _cursor(call: Call, kind: type[Record]) -> tuple[str, list[int], str]:
    """Return the condition that a cursor makes, its value, and the order to read in."""
    after, before = call.form.text("starting_after"), call.form.text("ending_before")
    if after and before:
        raise ApiError("Give starting_after or ending_before, not both.", param="ending_before")
    if after:
        return " AND seq < ?", [_seq(call, kind, after, "starting_after")], "DESC"
    if before:
        return " AND seq > ?", [_seq(call, kind, before, "ending_before")], "ASC"
    return "", [], "DESC"


def _seq(call: Call, kind: type[Record], id: str, param: str) -> int:
    rows = call.books.execute("SELECT seq FROM record WHERE id = ? AND kind = ?", [id, kind.kind])
    if not rows:
        raise no_such(kind.kind, id, param=param, status=400)
    return int(rows[0][0])
