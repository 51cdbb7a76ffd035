from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connections

from orders.saga import AUTHORIZE_FIRST
from tests.integration.audit import shop
from tests.integration.audit.shop import cancel, deliver, give_up, place, walk


class Orders(NamedTuple):
    """One order of each kind."""

    fulfilled: UUID
    asked_twice: UUID
    declined: UUID
    out_of_stock: UUID
    called_off: UUID
    called_off_late: UUID
    called_off_while_declined: UUID
    given_up: UUID
    open: UUID
    authorized: UUID
    authorized_in_vain: UUID
    called_off_too_late: UUID


@pytest.fixture(scope="module")
def orders(django_db_setup, django_db_blocker) -> Iterator[Orders]:
    """A shop after a day's work, for all tests of a module: they look at it, and roll back what
    they change.
    """
    with django_db_blocker.unblock():
        yield a_days_work()
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)


def a_days_work() -> Orders:
    """Place orders and end them in every way an order can end; leave one open."""
    shop.open_shop()
    kinds = Orders(
        fulfilled=place("MUG", "PLATE"),
        asked_twice=place(method="pm_sim_timeout_charged"),
        declined=place(method="pm_card_chargeDeclined"),
        out_of_stock=place("MUG", "VASE"),
        called_off=place(),
        called_off_late=place(),
        called_off_while_declined=place(method="pm_card_chargeDeclined"),
        given_up=place(),
        open=place(),
        authorized=place(first="authorize"),
        authorized_in_vain=place("VASE", first="authorize"),
        called_off_too_late=place(first="authorize"),
    )
    cancel(kinds.called_off)
    _reserve_then_cancel(kinds.called_off_late)
    _decline_then_cancel(kinds.called_off_while_declined)
    _charge_then_give_up(kinds.given_up)
    deliver("payments.charge", kinds.open)
    lost = {kinds.open, kinds.called_off_while_declined}
    walk(*(order for order in kinds[: kinds.index(kinds.open)] if order not in lost))
    _authorize_first(kinds)
    return kinds


def _authorize_first(kinds: Orders) -> None:
    plan = AUTHORIZE_FIRST.plan
    for step in ("payments.authorize", "inventory.reserve", "payments.capture"):
        deliver(step, kinds.called_off_too_late, plan=plan)
    cancel(kinds.called_off_too_late)
    walk(kinds.authorized, kinds.authorized_in_vain, kinds.called_off_too_late, plan=plan)


def _reserve_then_cancel(order: UUID) -> None:
    deliver("payments.charge", order)
    deliver("inventory.reserve", order)
    cancel(order)


def _decline_then_cancel(order: UUID) -> None:
    """Two walks set off; the short one ends the order, and the message of the other is lost."""
    deliver("payments.charge", order)
    cancel(order)
    deliver("orders.cancel", order)


def _charge_then_give_up(order: UUID) -> None:
    deliver("payments.charge", order)
    give_up("inventory.reserve", order)
