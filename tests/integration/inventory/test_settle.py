"""Reserved pieces are shipped or released, once."""

from functools import partial

import pytest
from django.db import transaction

from inventory import stock
from inventory.events import StockBarred, StockReleased, StockShipped
from inventory.steps import NothingReserved, record_manual_release, record_manual_shipment
from sagas.definition.handlers import ManualCompletionRefused, ManualConfirmation, Waiting
from tests.integration.inventory.factories import (
    counters,
    order,
    received,
    run,
    run_until_decided,
    states,
)
from tests.integration.races import at_once, blocked_behind, rows

pytestmark = pytest.mark.django_db(transaction=True, databases=["inventory"])


def held(**pieces: int):
    """Return the id of an order with reservations for these pieces."""
    wanted = order("inventory.reserve", pieces)
    run("inventory.reserve", wanted)
    return wanted.saga


def release(saga, *, action_done: bool = True):
    return order("inventory.release", saga=saga, action_done=action_done)


def ship(saga):
    return order("inventory.ship", saga=saga)


def test_a_release_puts_all_pieces_back_on_hand() -> None:
    received(MUG=5, CAP=5)
    saga = held(MUG=2, CAP=3)
    assert run("inventory.release", release(saga)) == [StockReleased(pieces=5)]
    assert counters("MUG") == counters("CAP") == (5, 0, 0)
    assert states(saga) == {"MUG": "released", "CAP": "released"}


def test_shipped_pieces_are_neither_on_hand_nor_reserved() -> None:
    received(MUG=5)
    saga = held(MUG=2)
    assert run("inventory.ship", ship(saga)) == [StockShipped(pieces=2)]
    assert counters("MUG") == (3, 0, 2)
    assert states(saga) == {"MUG": "shipped"}


def test_a_release_of_an_order_that_never_held_anything_changes_nothing() -> None:
    received(MUG=5)
    other = held(MUG=1)
    nothing = order("inventory.release")
    assert run("inventory.release", nothing) == [StockBarred()]
    assert counters("MUG") == (4, 1, 0)
    assert states(other) == {"MUG": "held"}


def test_what_was_shipped_is_not_released() -> None:
    received(MUG=5)
    saga = held(MUG=2)
    run("inventory.ship", ship(saga))
    with pytest.raises(NothingReserved, match=str(saga)):
        run("inventory.release", release(saga))
    assert counters("MUG") == (3, 0, 2)


def test_what_was_released_is_not_shipped_and_the_rest_of_the_batch_rolls_back_with_it() -> None:
    received(MUG=5)
    released, still_held = held(MUG=2), held(MUG=1)
    run("inventory.release", release(released))
    with pytest.raises(NothingReserved, match=str(released)):
        run("inventory.ship", ship(released), ship(still_held))
    assert counters("MUG") == (4, 1, 0)
    assert run("inventory.ship", ship(still_held)) == [StockShipped(pieces=1)]


def test_batches_of_orders_for_the_same_items_settle_side_by_side() -> None:
    received(A=100, B=100)
    orders = [held(A=1, B=1) for _ in range(40)]
    ways = [("inventory.ship", ship), ("inventory.release", release)]
    calls = [
        partial(run_until_decided, step, *map(make, orders[n::8]))
        for n in range(8)
        for step, make in [ways[n % 2]]
    ]
    at_once(calls)
    assert counters("A") == counters("B") == (80, 0, 20)


@pytest.mark.parametrize("step", ["inventory.ship", "inventory.release"])
def test_a_locked_item_delays_only_the_orders_that_need_it(step: str) -> None:
    received(A=9, B=9)
    needs_a, needs_b, needs_both = (
        order(step, saga=held(**pieces), action_done=True)
        for pieces in ({"A": 1}, {"B": 1}, {"B": 1, "A": 1})
    )
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'A' FOR UPDATE")
        (outcomes,) = at_once([partial(run, step, needs_a, needs_b, needs_both)])
        assert [isinstance(outcome, Waiting) for outcome in outcomes] == [True, False, True]
        assert states(needs_both.saga) == {"A": "held", "B": "held"}

    assert not any(isinstance(outcome, Waiting) for outcome in run(step, needs_a, needs_both))
    final = "shipped" if step == "inventory.ship" else "released"
    for settled in (needs_a, needs_b, needs_both):
        assert set(states(settled.saga).values()) == {final}


@pytest.mark.parametrize("step", ["inventory.ship", "inventory.release"])
def test_an_item_that_is_locked_for_a_moment_is_waited_for(step: str, monkeypatch) -> None:
    monkeypatch.setattr(stock, "LONGEST_WAIT_MS", 10_000)
    received(MUG=5)
    settled = order(step, saga=held(MUG=1), action_done=True)
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE")
        waiting = blocked_behind("inventory", partial(run, step, settled))
    (outcome,) = waiting.result(timeout=10)
    assert not isinstance(outcome, Waiting)


@pytest.mark.parametrize("record", [record_manual_release, record_manual_shipment])
def test_a_person_is_told_that_the_item_is_locked(record) -> None:
    received(MUG=5)
    settled = order("inventory.ship", saga=held(MUG=1))

    def by_hand() -> None:
        with transaction.atomic(using="inventory"):
            record(settled, ManualConfirmation(by="olga", evidence="counted"))

    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE")
        with pytest.raises(ManualCompletionRefused, match="MUG"):
            at_once([by_hand])
    assert states(settled.saga) == {"MUG": "held"}


def test_stock_moves_between_the_counters_and_none_is_lost() -> None:
    received(MUG=10)
    shipped, released, kept = held(MUG=1), held(MUG=2), held(MUG=3)
    run("inventory.ship", ship(shipped))
    run("inventory.release", release(released))
    assert counters("MUG") == (6, 3, 1)
    assert states(kept) == {"MUG": "held"}
