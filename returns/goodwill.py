"""The form with which staff propose goodwill on the page of an order."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from api.problems.exceptions import InvalidInput
from api.resources.records import KeyInFlight, KeyReused, fingerprint_of, make_once
from returns.api.requests import MOST_AMOUNT, NewGoodwill
from returns.api.resource import RETURNS
from returns.claims import money_left
from returns.models import IdempotencyKey, Return
from returns.returnable_orders import ChargedOrder, read_order
from returns.services import NotReturnable, OrderUnknown, TooMuch, give_goodwill
from sagas.currencies import exponent_of, with_currency
from sagas.kinds import Proposal

__all__ = ["goodwill_for"]

# An amount that a person writes. `Decimal` would also read exponents, underscores and the digits of
# other scripts.
AMOUNT = re.compile(r"[0-9]{1,16}(\.[0-9]{1,4})?")


def goodwill_for(order_id: UUID, *, currency: str, is_offered: bool) -> Proposal:
    """Return the form for goodwill of an order. The same rules hold as over REST."""
    return Proposal(
        name="goodwill",
        label="Give goodwill",
        action="give_goodwill",
        fields={"amount": f"Amount in {currency.upper()}"},
        preview=partial(_preview, order_id),
        submit=partial(_submit, order_id),
        is_offered=is_offered,
    )


def _preview(order_id: UUID, given: Mapping[str, str]) -> Sequence[str]:
    order = _fulfilled(order_id)
    amount = _amount(given, order.currency)
    left = money_left(order_id, order)
    if amount > left:
        raise ValueError(_too_much(left, order.currency))
    return [
        f"{with_currency(amount, order.currency)} of the "
        f"{with_currency(order.amount, order.currency)} that were charged go back to the customer,"
        " without goods.",
        f"{with_currency(left - amount, order.currency)} are then left for returns and goodwill.",
        "Another person must approve it before the money goes back.",
    ]


def _submit(order_id: UUID, actor: Any, given: Mapping[str, str], reason: str, key: str) -> UUID:
    """Propose goodwill once for a key, as a permitted person. The log of staff has it."""
    order = _fulfilled(order_id)
    new = NewGoodwill(amount=_amount(given, order.currency), reason=reason)

    def give() -> Return:
        return give_goodwill(
            actor, order_id=order_id, amount=new.amount, reason=reason, via="console"
        )

    try:
        made = make_once(
            IdempotencyKey,
            user=actor.pk,
            key=key,
            fingerprint=fingerprint_of(new, of=f"goodwill {order_id}"),
            make=give,
            render=lambda row: RETURNS.render(row, reader=actor.pk),
        )
    except TooMuch as error:
        raise ValueError(_too_much(error.left, order.currency)) from error
    except (OrderUnknown, NotReturnable) as error:
        raise ValueError("The order is not fulfilled any more. Nothing was proposed.") from error
    except InvalidInput as error:
        raise ValueError("Give an amount above 0 and a reason.") from error
    except (KeyInFlight, KeyReused) as error:
        raise ValueError("This form was sent before. Look at the returns of the order.") from error
    return made.resource


def _fulfilled(order_id: UUID) -> ChargedOrder:
    order = read_order(order_id)
    if order is None or not order.fulfilled:
        raise ValueError("The order is not fulfilled. Cancel it instead.")
    return order


def _amount(given: Mapping[str, str], currency: str) -> int:
    """Return the amount in minor units. Raises ValueError."""
    text = given.get("amount", "").strip()
    if not AMOUNT.fullmatch(text):
        raise ValueError(_no_amount(currency))
    minor = Decimal(text).scaleb(exponent_of(currency))
    if minor != minor.to_integral_value() or not 0 < minor <= MOST_AMOUNT:
        raise ValueError(_no_amount(currency))
    return int(minor)


def _no_amount(currency: str) -> str:
    example = with_currency(5 * 10 ** exponent_of(currency), currency)
    return f"Give an amount above 0 with the decimals of the currency, as in {example}."


def _too_much(left: int, currency: str) -> str:
    return f"The order has only {with_currency(left, currency)} left for returns and goodwill."
