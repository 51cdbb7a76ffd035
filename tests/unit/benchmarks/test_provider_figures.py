"""The conclusions of the benchmark from its runs beside slow providers."""

import pytest

from tools.benchmarks.database import Ending
from tools.benchmarks.line_chart import line_chart, sparkline
from tools.benchmarks.open_orders import Sample, stays_flat
from tools.benchmarks.provider_runs import Behaviour, ProviderRun
from tools.benchmarks.providers import Providers, ProviderSize, describe, judge_providers
from tools.benchmarks.scenarios import HttpAnswer
from tools.benchmarks.verdicts import figure_of, verdict_on
from tools.local.sandbox_control import ProviderCall

PLAIN = Behaviour(call_seconds=0.3)
HANGING = Behaviour(call_seconds=0.3, hanging=0.02)


def samples(*numbers: int) -> list[Sample]:
    return [Sample(float(second), number) for second, number in enumerate(numbers)]


def run(behaviour: Behaviour, seconds: list[float], *, rate: float = 20.0) -> ProviderRun:
    """Return a run whose orders took these seconds. The first order's call hung, if calls hang."""
    names = [f"o-{number}" for number in range(len(seconds))]
    return ProviderRun._of(
        [HttpAnswer(name, 100.0, 0.01) for name in names],
        {
            name: Ending("fulfilled", 100.0 + took)
            for name, took in zip(names, seconds, strict=True)
        },
        [
            ProviderCall(
                100.0,
                "payment_intents.create",
                name,
                "timeout_lost" if behaviour.hanging and name == "o-0" else "slow",
            )
            for name in names
        ],
        behaviour=behaviour,
        rate=rate,
        seconds=9.0,
        deadline=130.0,
        samples=samples(*[5] * 9),
    )


@pytest.mark.parametrize(
    ("numbers", "flat"),
    [
        ((0, 3, 6, 6, 7, 6, 6, 7, 6), True),
        ((0, 3, 6, 9, 12, 15, 18, 21, 24), False),
        ((0, 1), False),
    ],
)
def test_a_rate_is_flat_if_no_more_orders_are_open_at_the_end_than_in_the_middle(
    numbers: tuple[int, ...], flat: bool
) -> None:
    assert stays_flat(samples(*numbers), 9.0) is flat


def test_an_order_that_is_open_at_the_deadline_is_late() -> None:
    assert run(PLAIN, [0.7, 0.8, 31.0]).late == 1


def test_an_order_with_a_hanging_call_is_not_one_of_the_others() -> None:
    measured = run(HANGING, [25.0, 0.7, 0.8])
    assert measured.p99 == pytest.approx(25_000)
    assert measured.p99_of_others == pytest.approx(800)


def test_percentiles_are_compared_with_the_calls_of_the_provider() -> None:
    measured = Providers(
        size=ProviderSize(),
        runs=[run(PLAIN, [0.69, 0.69, 1.29]), run(HANGING, [25.0, 0.7, 1.5])],
        highest={0.3: 20.0},
    )
    verdicts = {each.figure.name: each for each in judge_providers(measured)}

    assert verdicts["300 ms a call, 20/s: p50 ÷ two calls"].met
    assert not verdicts["300 ms a call, 20/s: p99 ÷ two calls"].met
    assert not verdicts["300 ms: highest flat rate"].met
    assert verdicts["300 ms, 2 % of calls hang, 20/s: p99 of the others ÷ without"].met


def test_the_worst_value_decides_where_each_one_must_be_in_time() -> None:
    figure = figure_of("recovery", "s", [0.5, 0.6, 3.0])
    assert verdict_on(figure, at_most=1.0).met
    assert not verdict_on(figure, at_most=1.0, worst=True).met


def test_a_provider_is_described_in_words() -> None:
    assert describe(Behaviour(call_seconds=1.5)) == "1,500 ms"
    assert describe(HANGING) == "300 ms, 2 % of calls hang"


def test_the_chart_has_a_line_for_each_run_with_samples() -> None:
    drawn = line_chart("Open orders", {"slow <1>": samples(0, 5, 10), "none": []})
    assert drawn.count("<polyline") == 1
    assert "slow &lt;1&gt;" in drawn


def test_the_row_of_bars_shows_the_largest_number_highest() -> None:
    assert sparkline(samples(0, 5, 10)) == "▁▅█"
    assert sparkline([]) == ""
