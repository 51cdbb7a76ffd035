"""The sections of the start page, each read on its own.

A section that does not answer in time is left out and named on the page.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest

from api.monitoring.probes import gather
from audit import scheduled
from audit.metrics import unsettled_money
from console.dashboard.charts import Chart, durations_chart, endings_chart
from console.dashboard.money import money_tiles, payment_figures
from console.dashboard.queue_workers import workers_by_queue
from console.dashboard.throughput import throughput
from orders.metrics import count_needing_attention, count_open_by_status, estimate_by_status
from orders.status import Status
from sagas.delivery import queues
from sagas.operations import table_stats
from sagas.operations.table_stats import InboxStats, OutboxStats
from sagas.storage.registry import get_home, get_service, service_names

__all__ = [
    "Charts",
    "OrderFigures",
    "ServiceMessages",
    "add_sections",
    "can_see_figures",
    "probes",
    "sections",
]

# Seconds for all sections together.
LIMIT = 1.5


@dataclass(frozen=True, kw_only=True)
class OrderFigures:
    """Open orders by status, numbers of their problems, and an estimate of all orders.

    `oldest_seconds` is 0 if every open order is on hold or waits as agreed.
    """

    open: dict[str, int]
    attention: int
    stalled: int
    redriven: int
    oldest_seconds: float
    on_hold: int
    estimated: int

    @property
    def total(self) -> int:
        """Return how many orders are open."""
        return sum(self.open.values())


@dataclass(frozen=True, kw_only=True)
class ServiceMessages:
    """The outbox rows of a service, and its open steps."""

    service: str
    outbox: OutboxStats
    inbox: list[InboxStats]


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The two charts over time."""

    endings: Chart
    durations: Chart


def add_sections(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the sections to the context of the start page, for users who may view orders."""
    return {**context, **sections()} if can_see_figures(request) else context


def can_see_figures(request: HttpRequest) -> bool:
    """Tell whether this user may view orders."""
    return request.user.has_perms(["orders.view_order"])


def sections() -> dict[str, Any]:
    """Read all sections at once. `down` names the ones that did not answer in time."""
    named = probes()
    found = gather({f"console {name}": probe for name, probe in named.items()}, seconds=LIMIT)
    answers = {name: found.get(f"console {name}") for name in named}

    messages = [answers[f"messages of {name}"] for name in service_names()]
    return {
        "figures": True,
        "orders": answers["orders"],
        "charts": answers["charts"],
        "money": money_tiles(answers["money"], answers["payments"], answers["audit"]),
        "queues": answers["queues"],
        "workers": answers["workers"],
        "services": [answer for answer in messages if answer],
        "unknown_messages": [
            name for name, answer in zip(service_names(), messages, strict=True) if answer is None
        ],
        "down": sorted(name for name, answer in answers.items() if answer is None),
    }


def probes() -> dict[str, Callable[[], Any]]:
    """Return the function that reads each section, by the section's name."""
    return {
        "orders": _orders,
        "charts": _charts,
        "money": unsettled_money,
        "payments": payment_figures,
        "audit": scheduled.last_result,
        "queues": partial(queues.lengths, service_names()),
        "workers": partial(workers_by_queue, service_names()),
        **{f"messages of {name}": partial(_messages, name) for name in service_names()},
    }


def _orders() -> OrderFigures:
    sagas = table_stats.saga_stats(get_home("orders"))
    by_status = count_open_by_status()
    shown = [status for status in Status if status is not Status.CANCELLED]
    return OrderFigures(
        open={status.value: by_status.get(status.value, 0) for status in shown},
        attention=count_needing_attention(),
        stalled=sagas.stalled,
        redriven=sagas.redriven,
        oldest_seconds=sagas.oldest_seconds,
        on_hold=sagas.on_hold,
        estimated=sum(estimate_by_status().values()),
    )


def _charts() -> Charts:
    found = throughput()
    return Charts(endings=endings_chart(found), durations=durations_chart(found))


def _messages(name: str) -> ServiceMessages:
    service = get_service(name)
    return ServiceMessages(
        service=name,
        outbox=table_stats.outbox_stats(service),
        inbox=_oldest_first(table_stats.inbox_stats(service)),
    )


def _oldest_first(rows: Iterable[InboxStats]) -> list[InboxStats]:
    return sorted(rows, key=lambda row: row.oldest_seconds, reverse=True)
