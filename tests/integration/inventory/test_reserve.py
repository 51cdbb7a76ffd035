"""Stock is reserved for whole orders, and never more than there is."""

from functools import partial

import pytest
from django.db import transaction

from inventory import stock
from inventory.events import StockReserved, StockUnavailable
from inventory.models import Reservation
from sagas.definition.handlers import Waiting
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


def reserving(*lines: tuple[str, int]):
    return order("inventory.reserve", lines)


def test_every_line_of_an_order_is_held() -> None:
    received(MUG=5, CAP=5)
    wanted = reserving(("MUG", 2), ("CAP", 3))
    assert run("inventory.reserve", wanted) == [StockReserved(pieces=5)]
    assert (counters("MUG"), counters("CAP")) == ((3, 2, 0), (2, 3, 0))
    assert states(wanted.saga) == {"MUG": "held", "CAP": "held"}


def test_one_missing_line_leaves_the_others_untouched() -> None:
    received(MUG=5, CAP=1)
    wanted = reserving(("MUG", 2), ("CAP", 3))
    (refusal,) = run("inventory.reserve", wanted)
    assert isinstance(refusal, StockUnavailable)
    assert (refusal.code, refusal.sku) == ("out_of_stock", "CAP")
    assert counters("MUG") == (5, 0, 0)
    assert states(wanted.saga) == {}


def test_an_unknown_sku_is_out_of_stock() -> None:
    (refusal,) = run("inventory.reserve", reserving(("NEVER-SEEN", 1)))
    assert isinstance(refusal, StockUnavailable)
    assert refusal.code == "out_of_stock"


def test_a_batch_is_served_in_its_order_and_one_refusal_harms_no_other() -> None:
    received(MUG=3, CAP=1)
    first, greedy, last = (
        reserving(("MUG", 2)),
        reserving(("CAP", 1), ("MUG", 2)),
        reserving(("CAP", 1), ("MUG", 1)),
    )
    outcomes = run("inventory.reserve", first, greedy, last)
    assert [type(outcome) for outcome in outcomes] == [
        StockReserved,
        StockUnavailable,
        StockReserved,
    ]
    assert (counters("MUG"), counters("CAP")) == ((0, 3, 0), (0, 1, 0))


def test_a_sku_in_two_lines_counts_twice() -> None:
    received(MUG=3)
    assert isinstance(
        run("inventory.reserve", reserving(("MUG", 2), ("MUG", 2)))[0], StockUnavailable
    )
    assert run("inventory.reserve", reserving(("MUG", 2), ("MUG", 1))) == [StockReserved(pieces=3)]


def test_fifty_buyers_at_once_get_exactly_the_last_seven_pieces() -> None:
    received(LAST=7)
    outcomes = at_once(
        [partial(run_until_decided, "inventory.reserve", reserving(("LAST", 1))) for _ in range(50)]
    )
    served = [outcome for (outcome,) in outcomes if isinstance(outcome, StockReserved)]
    assert len(served) == 7
    assert counters("LAST") == (0, 7, 0)
    assert Reservation.objects.filter(item__sku="LAST", state="held").count() == 7


def test_batches_that_name_the_same_skus_in_opposite_order_do_not_deadlock() -> None:
    received(A=1000, B=1000, C=1000)
    there, back = (("A", 1), ("B", 1), ("C", 1)), (("C", 1), ("B", 1), ("A", 1))
    batches = [
        [reserving(*(there if number % 2 else back)) for _ in range(10)] for number in range(20)
    ]
    outcomes = at_once(
        [partial(run_until_decided, "inventory.reserve", *batch) for batch in batches]
    )
    assert sum(isinstance(outcome, StockReserved) for batch in outcomes for outcome in batch) == 200
    assert counters("A") == counters("B") == counters("C") == (800, 200, 0)


def test_a_locked_item_delays_only_the_orders_that_need_it() -> None:
    received(A=9, B=9)
    needs_a, needs_b, needs_both = (
        reserving(("A", 1)),
        reserving(("B", 1)),
        reserving(("B", 1), ("A", 1)),
    )
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'A' FOR UPDATE")
        (outcomes,) = at_once([partial(run, "inventory.reserve", needs_a, needs_b, needs_both)])
        assert [type(outcome) for outcome in outcomes] == [Waiting, StockReserved, Waiting]
        assert (counters("A"), counters("B")) == ((9, 0, 0), (8, 1, 0))

    assert run("inventory.reserve", needs_a, needs_both) == [
        StockReserved(pieces=1),
        StockReserved(pieces=2),
    ]
    assert (counters("A"), counters("B")) == ((7, 2, 0), (7, 2, 0))


def test_an_item_that_is_locked_for_a_moment_is_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(stock, "LONGEST_WAIT_MS", 10_000)
    received(MUG=5)
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE")
        waiting = blocked_behind(
            "inventory", partial(run, "inventory.reserve", reserving(("MUG", 2)))
        )
    assert waiting.result(timeout=10) == [StockReserved(pieces=2)]


def test_a_wait_for_an_item_leaves_the_time_limit_of_later_statements(monkeypatch) -> None:
    monkeypatch.setattr(stock, "LONGEST_WAIT_MS", 10_000)
    received(MUG=5)

    def limit_after_lock() -> tuple[str, str]:
        with transaction.atomic(using="inventory"):
            before = rows("inventory", "SHOW lock_timeout")[0][0]
            stock.lock({"MUG"})
            return before, rows("inventory", "SHOW lock_timeout")[0][0]

    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE")
        waiting = blocked_behind("inventory", limit_after_lock)
    before, after = waiting.result(timeout=10)
    assert before == after == "5s"


def test_an_item_that_stays_locked_is_waited_for_once(monkeypatch) -> None:
    received(MUG=5)
    waits = []
    set_lock_timeout = stock._set_lock_timeout

    def count_and_set(limit: str) -> str:
        waits.append(limit)
        return set_lock_timeout(limit)

    monkeypatch.setattr(stock, "_set_lock_timeout", count_and_set)
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE")
        for _ in range(3):
            (outcomes,) = at_once([partial(run, "inventory.reserve", reserving(("MUG", 1)))])
            assert [type(outcome) for outcome in outcomes] == [Waiting]
    assert waits == [f"{stock.LONGEST_WAIT_MS}ms"]


def test_reserving_waits_for_nobody_who_only_refers_to_the_item() -> None:
    received(MUG=5)
    with transaction.atomic(using="inventory"):
        rows("inventory", "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR KEY SHARE")
        assert at_once([partial(run, "inventory.reserve", reserving(("MUG", 1)))]) == [
            [StockReserved(pieces=1)]
        ]
