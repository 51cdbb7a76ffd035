"""Allocation: whole orders, first come first served, and never more than there is."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from inventory.allocation import Demand, ReservedLine, allocate

skus = st.sampled_from("ABC")
stock = st.dictionaries(skus, st.integers(0, 20))
wishes = st.lists(st.dictionaries(skus, st.integers(1, 9), min_size=1), max_size=12)


def demands_of(wishes: list[dict[str, int]]) -> list[Demand]:
    return [Demand(UUID(int=number), pieces) for number, pieces in enumerate(wishes)]


def test_an_order_that_fails_at_one_sku_leaves_its_other_pieces_to_the_next() -> None:
    first, second = demands_of([{"A": 1, "B": 1}, {"A": 1}])
    allocation = allocate({"A": 1, "B": 0}, [first, second])
    assert allocation.reserved == [ReservedLine(second.order, "A", 1)]
    assert allocation.missing == {first.order: "B"}


def test_an_unknown_sku_has_no_stock() -> None:
    (demand,) = demands_of([{"NEVER-SEEN": 1}])
    assert allocate({}, [demand]).missing == {demand.order: "NEVER-SEEN"}


@given(stock, wishes)
def test_never_more_is_held_than_there_is(
    on_hand: dict[str, int], wishes: list[dict[str, int]]
) -> None:
    assert allocate(on_hand, demands_of(wishes)).taken() <= Counter(on_hand)


@given(stock, wishes)
def test_an_order_gets_all_of_its_lines_or_none(
    on_hand: dict[str, int], wishes: list[dict[str, int]]
) -> None:
    demands = demands_of(wishes)
    allocation = allocate(on_hand, demands)
    for demand in demands:
        got = {
            line.sku: line.quantity for line in allocation.reserved if line.order == demand.order
        }
        assert got == ({} if demand.order in allocation.missing else demand.pieces)


@given(stock, wishes)
def test_an_order_that_gets_nothing_could_not_have_been_served_by_what_was_left_then(
    on_hand: dict[str, int], wishes: list[dict[str, int]]
) -> None:
    demands = demands_of(wishes)
    for number, demand in enumerate(demands):
        before = Counter(on_hand)
        before.subtract(allocate(on_hand, demands[:number]).taken())
        served = demand.order not in allocate(on_hand, demands[: number + 1]).missing
        assert served == (Counter(demand.pieces) <= before)
