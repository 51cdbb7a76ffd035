"""The start page: how things stand now. Each section is asked on its own; what does not answer
leaves a named gap.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest

from api.monitoring.deadline import gather
from audit.metrics import limbo
from console.dashboard.charts import Chart, durations_of, endings_of
from console.dashboard.queue_workers import crews
from console.dashboard.throughput import throughput
from orders.metrics import count_needing_attention, count_open_by_status, estimate_by_status
from orders.status import Status
from sagas.delivery import queues
from sagas.operations import table_stats
from sagas.operations.table_stats import InboxRows, OutboxRows
from sagas.storage.registry import get_home, get_service, service_names

__all__ = ["Charts", "Messages", "Orders", "context", "may_see", "questions", "sections"]

# Seconds for all sections together.
LIMIT = 1.5


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How many orders are open, by status, and what is wrong with them; and about how many there
    are at all.
    """

    open: dict[str, int]
    attention: int
    stalled: int
    redriven: int
    oldest_seconds: float
    estimated: int

    @property
    def total(self) -> int:
        """Return how many are open."""
        return sum(self.open.values())


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What a service has to send, and which of its steps are open."""

    service: str
    outbox: OutboxRows
    inbox: list[InboxRows]


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Both charts over time."""

    endings: Chart
    durations: Chart


def context(request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the start page, for those who may see orders."""
    return {**given, **sections()} if may_see(request) else given


def may_see(request: HttpRequest) -> bool:
    """Tell whether this user may see the figures: whoever may see orders."""
    return request.user.has_perms(["orders.view_order"])


def sections() -> dict[str, Any]:
    """Ask for every section; `down` names those that did not answer in time."""
    asked = questions()
    found = gather({f"console {name}": question for name, question in asked.items()}, seconds=LIMIT)
    answers = {name: found.get(f"console {name}") for name in asked}
    return {
        "figures": True,
        "orders": answers["orders"],
        "charts": answers["charts"],
        "money": answers["money"],
        "queues": answers["queues"],
        "workers": answers["workers"],
        "services": [
            answers[f"messages of {name}"]
            for name in service_names()
            if answers[f"messages of {name}"]
        ],
        "down": sorted(name for name, answer in answers.items() if answer is None),
    }


def questions() -> dict[str, Callable[[], Any]]:
    """Return what is asked for each section, by its name."""
    return {
        "orders": _orders,
        "charts": _charts,
        "money": limbo,
        "queues": partial(queues.lengths, service_names()),
        "workers": partial(crews, service_names()),
        **{f"messages of {name}": partial(_messages, name) for name in service_names()},
    }


def _orders() -> Orders:
    sagas, found = table_stats.sagas_of(get_home("orders")), count_open_by_status()
    return Orders(
        open={
            status.value: found.get(status.value, 0)
            for status in Status
            if status is not Status.CANCELLED
        },
        attention=count_needing_attention(),
        stalled=sagas.stalled,
        redriven=sagas.redriven,
        oldest_seconds=sagas.oldest_seconds,
        estimated=sum(estimate_by_status().values()),
    )


def _charts() -> Charts:
    found = throughput()
    return Charts(endings=endings_of(found), durations=durations_of(found))


def _messages(name: str) -> Messages:
    service = get_service(name)
    return Messages(
        service=name,
        outbox=table_stats.outbox_rows(service),
        inbox=_worst_first(table_stats.inbox_rows(service)),
    )


def _worst_first(rows: Iterable[InboxRows]) -> list[InboxRows]:
    return sorted(rows, key=lambda row: row.oldest_seconds, reverse=True)
