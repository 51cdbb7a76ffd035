from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connections

from orders.saga import AUTHORIZE_FIRST
from tests.integration.audit import harness
from tests.integration.audit.harness import cancel, deliver, give_up, place, run_to_end


class Orders(NamedTuple):
    """One order of each kind."""

    fulfilled: UUID
    charged_after_timeout: UUID
    declined: UUID
    out_of_stock: UUID
    cancelled: UUID
    cancelled_late: UUID
    cancelled_while_declined: UUID
    given_up: UUID
    open: UUID
    authorized: UUID
    authorized_in_vain: UUID
    cancelled_too_late: UUID


@pytest.fixture(scope="module")
def orders(django_db_setup, django_db_blocker) -> Iterator[Orders]:
    """Orders of every kind, for all tests of a module. A test rolls back its own changes."""
    with django_db_blocker.unblock():
        yield place_and_end_orders()
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)


def place_and_end_orders() -> Orders:
    """Place orders and end them in every possible way; leave one open."""
    harness.open_shop()
    kinds = Orders(
        fulfilled=place("MUG", "PLATE"),
        charged_after_timeout=place(method="pm_sim_timeout_charged"),
        declined=place(method="pm_card_chargeDeclined"),
        out_of_stock=place("MUG", "VASE"),
        cancelled=place(),
        cancelled_late=place(),
        cancelled_while_declined=place(method="pm_card_chargeDeclined"),
        given_up=place(),
        open=place(),
        authorized=place(first="authorize"),
        authorized_in_vain=place("VASE", first="authorize"),
        cancelled_too_late=place(first="authorize"),
    )
    cancel(kinds.cancelled)
    _reserve_then_cancel(kinds.cancelled_late)
    _decline_then_cancel(kinds.cancelled_while_declined)
    _charge_then_give_up(kinds.given_up)
    deliver("payments.charge", kinds.open)
    lost = {kinds.open, kinds.cancelled_while_declined}
    run_to_end(*(order for order in kinds[: kinds.index(kinds.open)] if order not in lost))
    _authorize_first(kinds)
    return kinds


def _authorize_first(kinds: Orders) -> None:
    plan = AUTHORIZE_FIRST.plan
    for step in ("payments.authorize", "inventory.reserve", "payments.capture"):
        deliver(step, kinds.cancelled_too_late, plan=plan)
    cancel(kinds.cancelled_too_late)
    run_to_end(kinds.authorized, kinds.authorized_in_vain, kinds.cancelled_too_late, plan=plan)


def _reserve_then_cancel(order: UUID) -> None:
    deliver("payments.charge", order)
    deliver("inventory.reserve", order)
    cancel(order)


def _decline_then_cancel(order: UUID) -> None:
    """Start two ways back. The short one ends the order, and the message of the other is lost."""
    deliver("payments.charge", order)
    cancel(order)
    deliver("orders.cancel", order)


def _charge_then_give_up(order: UUID) -> None:
    deliver("payments.charge", order)
    give_up("inventory.reserve", order)
