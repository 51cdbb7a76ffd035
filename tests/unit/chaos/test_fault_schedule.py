"""The operations and faults of a soak are drawn from its seed before anything starts."""

from collections import Counter

import pytest

from tools.chaos.database_faults import DATABASE_FAULTS
from tools.chaos.fault_schedule import (
    BAD_RELEASES,
    FLUSHALL,
    KILLS,
    STEP,
    bad_releases,
    deployments,
    schedule,
)
from tools.chaos.process_targets import TARGETS
from tools.chaos.workload import KINDS, operations


def test_one_seed_means_the_same_faults_and_errands_each_time():
    size = {"orders": 200, "kills": 20, "flushalls": 3}
    assert schedule(**size, seed=7) == schedule(**size, seed=7)
    assert schedule(**size, seed=7) != schedule(**size, seed=8)
    assert operations(orders=200, seed=7) == operations(orders=200, seed=7)
    assert operations(orders=200, seed=7) != operations(orders=200, seed=8)


@pytest.mark.parametrize("kills", [len(KILLS), 50, 500])
def test_every_kind_of_process_is_killed_and_as_many_as_were_asked_for(kills):
    injected = Counter(
        fault.kind for fault in schedule(orders=1_000, kills=kills, flushalls=3, seed=1)
    )
    assert injected.keys() == {*KILLS, FLUSHALL}
    assert (injected.total(), injected[FLUSHALL]) == (kills + 3, 3)


def test_faults_strike_while_orders_are_placed_the_last_one_with_the_last_order():
    moments = [fault.after for fault in schedule(orders=1_000, kills=50, flushalls=3, seed=1)]
    assert moments == sorted(moments)
    assert moments[0] >= 1
    assert moments[-1] == 1_000


def test_a_soak_without_faults_has_none():
    assert schedule(orders=10, kills=0, flushalls=0, seed=1) == []


def test_it_is_known_where_to_find_every_kind_of_victim():
    assert TARGETS.keys() == KILLS.keys()


def test_one_seed_means_the_same_bad_releases_and_deployments_each_time():
    size = {"orders": 400, "count": 6, "seconds": 10}
    for draw in (bad_releases, deployments):
        assert draw(**size, seed=7) == draw(**size, seed=7)
        assert draw(**size, seed=7) != draw(**size, seed=8)


@pytest.mark.parametrize("count", [len(BAD_RELEASES), 12])
def test_every_kind_of_bad_release_comes_and_orders_follow_the_last_one(count):
    drawn = bad_releases(orders=1_000, count=count, seconds=20, seed=1)
    assert len(drawn) == count
    assert {episode.kind for episode in drawn} == set(BAD_RELEASES)
    assert all(6 <= episode.seconds <= 20 for episode in drawn)

    begins = [episode.after for episode in drawn]
    assert begins == sorted(begins)
    assert begins[0] >= 1
    assert begins[-1] <= 850


def test_a_soak_may_be_without_bad_releases_and_deployments():
    for draw in (bad_releases, deployments):
        assert draw(orders=10, count=0, seconds=10, seed=1) == []


def test_it_is_known_what_each_kind_of_bad_release_breaks():
    assert {*DATABASE_FAULTS, STEP} == set(BAD_RELEASES)


def test_every_order_is_placed_once_and_before_what_is_done_to_it():
    placed = set()
    for operation in operations(orders=500, seed=3):
        if operation.verb == "place":
            assert operation.request.key not in placed
            placed.add(operation.request.key)

        assert operation.request.key in placed

    assert len(placed) == 500


def test_orders_of_every_kind_are_placed_and_some_are_cancelled_sent_again_or_returned():
    verbs = Counter(operation.verb for operation in operations(orders=500, seed=3))
    assert verbs.keys() == {"place", "again", "cancel", "return"}
    kinds = {operation.request.kind for operation in operations(orders=500, seed=3)}
    assert kinds == set(KINDS)
    assert sum(kind.share for kind in KINDS) == 100
