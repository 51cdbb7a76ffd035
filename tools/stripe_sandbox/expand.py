"""`expand[]`: ids replaced by the objects they name."""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, Record, Refund
from tools.stripe_sandbox.shapes import shape

__all__ = ["expand"]

# As deep as Stripe goes.
DEEPEST = 4
EXPANDABLE: dict[str, type[Record]] = {
    "charge": Charge,
    "latest_charge": Charge,
    "payment_intent": Intent,
    "payment_method": PaymentMethod,
}


def expand(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Return a response with all expanded that the request asks for; raise ApiError for what
    cannot be.
    """
    for wish in call.form.texts("expand"):
        path = wish.split(".")
        if path[0] == "data" and isinstance(body.get("data"), list):
            for one in body["data"]:
                _expand(call, one, path[1:], wish)
        else:
            _expand(call, body, path, wish)
    return body


def _expand(call: Call, body: dict[str, Any], path: list[str], wish: str) -> None:
    if not path or len(path) > DEEPEST:
        raise _not_expandable(wish)
    name = path[0]
    if name == "refunds" and body.get("object") == Charge.kind:
        body.setdefault(name, _refunds(call, body["id"]))
    elif name not in EXPANDABLE or name not in body:
        raise _not_expandable(wish)
    elif isinstance(body[name], str):
        body[name] = shape(call.books, call.books.get(EXPANDABLE[name], body[name]))
    if path[1:] and body[name]:
        _expand(call, body[name], path[1:], wish)


def _refunds(call: Call, charge: str) -> dict[str, Any]:
    """Return a charge's newest refunds as the list inside it."""
    found = call.books.select(
        Refund, "AND json_extract(body, '$.charge') = ? ORDER BY seq DESC LIMIT 11", [charge]
    )
    data = [shape(call.books, refund) for refund in found[:10]]
    return {
        "object": "list",
        "url": f"/v1/charges/{charge}/refunds",
        "has_more": len(found) > 10,
        "data": data,
    }


def _not_expandable(wish: str) -> ApiError:
    return ApiError(f"This property cannot be expanded: {wish}.", param="expand")
