"""Single runs beside a provider that takes its time: a fixed rate, and draining waiting orders."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.benchmarks.database import BenchmarkFailed, Ending
from tools.benchmarks.machine import frozen
from tools.benchmarks.open_orders import OpenOrders, Sample, stays_flat
from tools.benchmarks.scenarios import HttpAnswer, SystemUnderTest, percentile
from tools.local.sandbox_control import HANG, ProviderCall, SandboxControl

__all__ = ["CALLS", "HANG_SECONDS", "HANG_SHARE", "Behaviour", "ProviderDrain", "ProviderRun"]

# A charge creates an intent and confirms it: two calls of the provider, one after the other.
CALLS = 2
HANG_SHARE, HANG_SECONDS = 0.02, 20.0
# How long a run waits for its last orders, beside the provider's calls, in seconds. Orders with a
# hanging call wait for it, and are tried again later.
PATIENCE, PATIENCE_WITH_HANGS = 10.0, 75.0
MOST = 0.95


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the provider behaves: the seconds of a call, and the share of calls that hang."""

    call_seconds: float
    hanging: float = 0.0

    @property
    def floor(self) -> float:
        """Seconds of the provider's own calls for one charge."""
        return CALLS * self.call_seconds

    @property
    def patience(self) -> float:
        """Seconds after the last order of a run, until the open orders count as late."""
        return 4 * self.floor + (PATIENCE_WITH_HANGS if self.hanging else PATIENCE)

    def apply(self, provider: SandboxControl) -> None:
        """Let the provider behave so."""
        provider.recover()
        if self.hanging:
            provider.hang(HANG_SECONDS, share=self.hanging)
        provider.slow_down(self.call_seconds)


@dataclass(frozen=True, kw_only=True)
class ProviderRun:
    """Orders at a fixed rate. Milliseconds last from the POST to the final status.

    `others` are the orders none of whose calls hung. `late` counts the orders that were open when
    the run stopped waiting: their milliseconds are lower bounds.
    """

    behaviour: Behaviour
    rate: float
    seconds: float
    milliseconds: list[float] = field(repr=False)
    others: list[float] = field(repr=False)
    late: int
    cancelled: int
    calls_per_order: float
    flat: bool
    open_orders: list[Sample] = field(repr=False)

    @property
    def p50(self) -> float:
        """The median in milliseconds."""
        return percentile(self.milliseconds, 50)

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return percentile(self.milliseconds, 99)

    @property
    def p99_of_others(self) -> float:
        """The 99th percentile of the orders none of whose calls hung, in milliseconds."""
        return percentile(self.others, 99)

    @property
    def most_open(self) -> int:
        """The largest number of open orders."""
        return max((sample.open for sample in self.open_orders), default=0)

    @classmethod
    def run(
        cls, system: SystemUnderTest, behaviour: Behaviour, *, rate: float, seconds: float
    ) -> "ProviderRun":
        """Place orders over HTTP at a fixed rate, and wait for them."""
        provider = provider_of(system)
        system.database.vacuum()
        behaviour.apply(provider)
        provider.new_calls()
        began = time.time()

        with OpenOrders(system.stack.env["DATABASE_URL"]) as watched:
            answers = system.order_over_http("orders/", "--rate", rate, "--seconds", seconds)
            system.database.end_within(behaviour.patience)

        deadline, calls = time.time(), provider.new_calls()
        provider.recover()
        system.database.wait_until_ended()
        return cls._of(
            answers,
            system.database.endings(began),
            calls,
            behaviour=behaviour,
            rate=rate,
            seconds=seconds,
            deadline=deadline,
            samples=watched.samples,
        )

    @classmethod
    def _of(  # noqa: PLR0913  # all by keyword
        cls,
        answers: Sequence[HttpAnswer],
        endings: dict[str, Ending],
        calls: Sequence[ProviderCall],
        *,
        behaviour: Behaviour,
        rate: float,
        seconds: float,
        deadline: float,
        samples: list[Sample],
    ) -> "ProviderRun":
        took = {each.order: 1000 * (endings[each.order].at - each.sent_at) for each in answers}
        hung = {call.order for call in calls if call.fault == HANG}
        return cls(
            behaviour=behaviour,
            rate=rate,
            seconds=seconds,
            milliseconds=list(took.values()),
            others=[spent for order, spent in took.items() if order not in hung],
            late=sum(endings[order].at > deadline for order in took),
            cancelled=sum(endings[order].status == "cancelled" for order in took),
            calls_per_order=len([call for call in calls if call.order in took]) / len(took),
            flat=stays_flat(samples, seconds),
            open_orders=samples,
        )


@dataclass(frozen=True, kw_only=True)
class ProviderDrain:
    """Waiting orders, drained: sagas/s until the last one, and until 95 % of them have ended."""

    behaviour: Behaviour
    orders: int
    rate: float
    rate_of_most: float
    calls_per_order: float

    @classmethod
    def run(cls, system: SystemUnderTest, behaviour: Behaviour, *, orders: int) -> "ProviderDrain":
        """Place orders while the workers are frozen, then measure how fast they finish them."""
        provider = provider_of(system)
        system.database.vacuum()
        behaviour.apply(provider)
        began = time.time()
        with frozen(system.stack):
            system.placing.request(f"hold {orders} 0")
            provider.new_calls()
            started = time.time()

        system.placing.request("send")
        system.database.wait_until_ended()
        calls = provider.new_calls()
        provider.recover()

        ends = sorted(ending.at for ending in system.database.endings(began).values())
        if len(ends) != orders:
            raise BenchmarkFailed(f"{len(ends)} orders ended, but {orders} were placed.")
        most = int(MOST * orders)
        return cls(
            behaviour=behaviour,
            orders=orders,
            rate=orders / (ends[-1] - started),
            rate_of_most=most / (ends[most - 1] - started),
            calls_per_order=len(calls) / orders,
        )


def provider_of(system: SystemUnderTest) -> SandboxControl:
    """Return the control of a system's sandbox; raise BenchmarkFailed if it has none."""
    if system.provider is None:
        raise BenchmarkFailed("This system has no payment sandbox.")
    return system.provider
