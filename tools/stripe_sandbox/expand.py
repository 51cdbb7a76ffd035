"""`expand[]`: replace ids by the objects."""

from typing import Any

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError
from tools.stripe_sandbox.records import (
    BalanceTransaction,
    Charge,
    Dispute,
    Intent,
    PaymentMethod,
    Record,
    Refund,
)

__all__ = ["expand"]

# Stripe's own limit.
MAX_DEPTH = 4
EXPANDABLE: dict[str, tuple[type[Record], ...]] = {
    "balance_transaction": (BalanceTransaction,),
    "charge": (Charge,),
    "failure_balance_transaction": (BalanceTransaction,),
    "latest_charge": (Charge,),
    "payment_intent": (Intent,),
    "payment_method": (PaymentMethod,),
    "source": (Charge, Refund, Dispute),
}


def expand(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Expand the requested properties of a response; raise ApiError for other properties."""
    for requested in call.form.texts("expand"):
        path = requested.split(".")
        if path[0] == "data" and isinstance(body.get("data"), list):
            for one in body["data"]:
                _expand(call, one, path[1:], requested)
        else:
            _expand(call, body, path, requested)

    return body


def _expand(call: Call, body: dict[str, Any], path: list[str], requested: str) -> None:
    if not path or len(path) > MAX_DEPTH:
        raise _not_expandable(requested)

    name = path[0]
    if name == "refunds" and body.get("object") == Charge.kind:
        body.setdefault(name, _refunds(call, body["id"]))
    elif name not in EXPANDABLE or name not in body:
        raise _not_expandable(requested)
    elif isinstance(body[name], str):
        body[name] = _object(call, EXPANDABLE[name], body[name])

    if path[1:] and body[name]:
        _expand(call, body[name], path[1:], requested)


def _object(call: Call, kinds: tuple[type[Record], ...], id: str) -> dict[str, Any]:
    """Return the object with an id, which is of one of `kinds`."""
    *others, last = kinds
    found = (call.store.find(kind, id) for kind in others)
    record = next(filter(None, found), None) or call.store.get(last, id)
    return to_api_object(call.store, record)


def _refunds(call: Call, charge: str) -> dict[str, Any]:
    """Return the list object with a charge's newest refunds."""
    found = call.store.select(
        Refund, "AND json_extract(body, '$.charge') = ? ORDER BY seq DESC LIMIT 11", [charge]
    )
    data = [to_api_object(call.store, refund) for refund in found[:10]]
    return {
        "object": "list",
        "url": f"/v1/charges/{charge}/refunds",
        "has_more": len(found) > 10,
        "data": data,
    }


def _not_expandable(requested: str) -> ApiError:
    return ApiError(f"This property cannot be expanded: {requested}.", param="expand")
