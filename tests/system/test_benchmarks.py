"""The parts of `make bench`, with tiny numbers, on one system beside the payment sandbox."""

import pytest

from tools.benchmarks.isolated_stack import new_system
from tools.benchmarks.outage.drill import OutageSize, run_outage
from tools.benchmarks.outage.report import judge_outage
from tools.benchmarks.outage.watch import Snapshot
from tools.benchmarks.provider_runs import Behaviour, ProviderDrain, ProviderRun
from tools.benchmarks.providers import ProviderSize, judge_providers, measure_providers
from tools.benchmarks.recovery_scenes import RecoveryScene, another_worker

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def system():
    with new_system(sandbox=True) as started:
        yield started


def test_a_run_beside_a_slow_provider_takes_at_least_the_two_calls(system):
    behaviour = Behaviour(call_seconds=0.05)
    run = ProviderRun.run(system, behaviour, rate=5, seconds=2)

    assert len(run.milliseconds) == 10
    assert min(run.milliseconds) >= 1000 * behaviour.floor
    assert (run.calls_per_order, run.cancelled) == (2.0, 0)
    assert run.others == run.milliseconds
    assert run.open_orders


def test_waiting_orders_are_drained_and_their_calls_counted(system):
    drain = ProviderDrain.run(system, Behaviour(call_seconds=0.01), orders=20)

    assert drain.rate > 0
    assert drain.calls_per_order == 2.0


def test_the_targets_are_judged_from_the_runs_that_were_made(system):
    size = ProviderSize(
        call_seconds=(0.3,),
        with_hangs=(),
        rates=(2.0,),
        ladder=(2.0,),
        seconds=2,
        orders=10,
        warm_up=10,
    )
    news: list[str] = []
    measured = measure_providers(system, size, notify=news.append)

    assert [verdict.figure.name for verdict in judge_providers(measured)] == [
        "300 ms: highest flat rate",
        "300 ms: draining",
    ]
    assert len(news) == 2


@pytest.mark.faults
def test_a_drill_counts_orders_messages_and_calls_and_loses_no_order(system):
    size = OutageSize(
        orders=3,
        hang_seconds=2,
        error_seconds=1,
        call_seconds=0.01,
        settle_seconds=0,
        pace_orders=5,
    )
    seen: list[Snapshot] = []
    outage = run_outage(system, size, notify=seen.append)

    assert (outage.lost, outage.cancelled) == (0, 0)
    assert max(snapshot.orders for snapshot in seen) == 3
    assert sum(snapshot.calls for snapshot in seen) > 0
    assert len(judge_outage(outage)) == 7


@pytest.mark.faults
@pytest.mark.parametrize("in_flight", [True, False])
def test_orders_go_on_after_the_children_of_a_worker_were_killed(system, in_flight):
    assert RecoveryScene(system).kill_children(in_flight=in_flight) > 0


@pytest.mark.faults
def test_an_order_goes_on_after_its_message_was_lost(system):
    assert RecoveryScene(system).lose_message() > 0


@pytest.mark.faults
def test_orders_go_on_at_another_worker_after_a_host_was_lost(system):
    with another_worker(system) as other:
        assert RecoveryScene(system, other).kill_host(in_flight=True) > 0
