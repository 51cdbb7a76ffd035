"""The sections of the start page, each read on its own.

A section that does not answer in time is left out and named on the page.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from console.approvals import notices_for
from console.dashboard.parts import registered_parts
from console.dashboard.queue_workers import workers_by_queue
from console.dashboard.saga_figures import KindFigures, attention_page, other_kinds, read_home
from console.dashboard.saga_throughput import charts_of_home
from console.holds import TroubledSteps, troubled_steps
from console.visible_kinds import VisibleKinds, visible_kinds
from sagas.delivery import queues
from sagas.kinds import all_kinds
from sagas.observability.probes import gather
from sagas.operations import table_stats
from sagas.operations.table_stats import InboxStats, OutboxStats
from sagas.storage.registry import get_service, service_names

__all__ = [
    "ServiceMessages",
    "add_sections",
    "probes",
    "sections",
]

# Seconds for all sections together.
LIMIT = 1.5


@dataclass(frozen=True, kw_only=True)
class ServiceMessages:
    """The outbox rows of a service, its open steps, and its steps that are on hold or fail."""

    service: str
    outbox: OutboxStats
    inbox: list[InboxStats]
    steps: TroubledSteps


def add_sections(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the notices to the context of the start page, and the sections for users who may view
    a kind of saga.
    """
    found = sections(request.user) if visible_kinds(request.user).kinds else {}
    return {**context, **found, "notices": notices_for(request.user)}


def sections(user: User | AnonymousUser) -> dict[str, Any]:
    """Read at once the sections that a user may see. `down` names those without an answer in time.

    The figures of sagas are of the kinds that the user may view.
    """
    visible = visible_kinds(user)
    named = probes(user)
    found = gather({f"console {name}": probe for name, probe in named.items()}, seconds=LIMIT)
    answers = {name: found.get(f"console {name}") for name in named}
    context: dict[str, Any] = {
        "figures": True,
        **_sagas(visible, answers),
        "queues": answers["queues"],
        "workers": answers["workers"],
        **_services(visible, answers),
        "parts": registered_parts(),
        "down": sorted(name for name, answer in answers.items() if answer is None),
    }
    for part in registered_parts():
        context |= part.context(user, visible.kinds, answers)
    return context


def probes(user: User | AnonymousUser | None = None) -> dict[str, Callable[[], Any]]:
    """Return the function that reads each section, by the section's name.

    Without a user, all sections are returned, else the ones that the user may see. A function reads
    the same for every user: the next user gets the result of a function that still runs.
    """
    visible = VisibleKinds(all_kinds()) if user is None else visible_kinds(user)
    named: dict[str, Callable[[], Any]] = {
        "queues": partial(queues.lengths, service_names()),
        "workers": partial(workers_by_queue, service_names()),
        **{f"messages of {name}": partial(_messages, name) for name in service_names()},
    }
    for part in registered_parts():
        named |= part.probes(user, visible.kinds)
    for home in visible.other_homes:
        kinds = [kind for kind in other_kinds() if kind.home == home]
        named[f"sagas of {home}"] = partial(read_home, home)
        named[f"charts of {home}"] = partial(charts_of_home, home, kinds)
    return named


def _sagas(visible: VisibleKinds, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the figures and the charts of the visible kinds."""
    by_home = [answers[f"sagas of {home}"] for home in visible.other_homes]
    kinds: list[KindFigures] = [
        found for answer in by_home for found in answer or () if found.kind in visible.kinds
    ]
    of_parts = [part.attention(answers) for part in registered_parts()]
    needing = sum(found.stats.needing_attention for found in kinds)
    return {
        "kinds": kinds,
        "covered": visible.covered,
        "attention": sum(number or 0 for number in of_parts) + needing,
        "attention_partial": None in by_home or None in of_parts,
        "attention_page": attention_page(kinds, visible.covered),
        "kind_charts": [
            found
            for home in visible.other_homes
            for found in answers[f"charts of {home}"] or ()
            if found.kind in visible.kinds
        ],
    }


def _services(visible: VisibleKinds, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the messages of each service, with the steps that the visible kinds may have."""
    messages = {name: answers[f"messages of {name}"] for name in service_names()}
    return {
        "services": [_only_visible(found, visible) for found in messages.values() if found],
        "unknown_messages": [name for name, answer in messages.items() if answer is None],
    }


def _only_visible(found: ServiceMessages, visible: VisibleKinds) -> ServiceMessages:
    return replace(
        found,
        inbox=[row for row in found.inbox if visible.shows_step(row.step)],
        steps=TroubledSteps(
            held=[held for held in found.steps.held if visible.shows_step(held.step)],
            failing=[each for each in found.steps.failing if visible.shows_step(each.step)],
        ),
    )


def _messages(name: str) -> ServiceMessages:
    service = get_service(name)
    return ServiceMessages(
        service=name,
        outbox=table_stats.outbox_stats(service),
        inbox=_oldest_first(table_stats.inbox_stats(service)),
        steps=troubled_steps(service),
    )


def _oldest_first(rows: Iterable[InboxStats]) -> list[InboxStats]:
    return sorted(rows, key=lambda row: row.oldest_seconds, reverse=True)
