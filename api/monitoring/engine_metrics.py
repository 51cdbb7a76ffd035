"""The engine's sections of `/metrics`: messages of each service, sagas of each home, queues."""

from collections.abc import Iterator
from functools import partial

from prometheus_client.core import Metric

from api.monitoring.sections import Section, gauge
from sagas.delivery import queues
from sagas.kinds import all_kinds
from sagas.operations import table_stats
from sagas.storage import call_limits
from sagas.storage.registry import get_home, get_service, home_names, service_names

__all__ = ["engine_sections"]


def engine_sections() -> dict[str, Section]:
    """Return a section for each service and each home, and one for the broker, by name."""
    services, homes = service_names(), home_names()
    return {
        **{f"{name} messages": partial(_messages, name) for name in services},
        **{f"{name} sagas": partial(_sagas, name) for name in homes},
        "broker": partial(_queues, services),
    }


def _messages(name: str) -> Iterator[Metric]:
    yield from _outbox(name)
    yield from _holds(name)
    yield from _reached_limits(name)
    yield from _shared_faults(name)
    yield from _inbox(name)


def _outbox(name: str) -> Iterator[Metric]:
    outbox = table_stats.outbox_stats(get_service(name))

    rows = "Unpublished outbox rows: due, leased by the process that publishes them, or parked."
    yield gauge("saga_outbox_rows", rows, service=name, state="due")(outbox.due)
    yield gauge("saga_outbox_rows", rows, service=name, state="leased")(outbox.leased)
    yield gauge("saga_outbox_rows", rows, service=name, state="parked")(outbox.parked)

    age = "Age in seconds of the oldest unpublished outbox row; 0 if there is none."
    yield gauge("saga_outbox_oldest_seconds", age, service=name)(outbox.oldest_seconds)


def _holds(name: str) -> Iterator[Metric]:
    destinations: dict[str, dict[bool, int]] = {}

    for held in table_stats.hold_stats(get_service(name)):
        if held.step:
            help_text = "Seconds for which a step has been on hold for all sagas."
            labels = {"service": name, "step": held.step, **_of_destination(held.destination)}
            yield gauge("saga_step_hold_seconds", help_text, **labels)(held.oldest_seconds)
            if held.automatic:
                help_text = "Seconds for which a step has been on hold by itself."
                automatic = "saga_step_automatic_hold_seconds"
                yield gauge(automatic, help_text, **labels)(held.oldest_seconds)
            if held.destination:
                destinations.setdefault(held.step, {})[held.automatic] = held.number
            continue

        number = gauge("saga_holds", "Sagas that an operator put on hold.", service=name)
        yield number(held.number)

        help_text = "Seconds for which the oldest such saga has been on hold."
        yield gauge("saga_hold_oldest_seconds", help_text, service=name)(held.oldest_seconds)

    for step, numbers in destinations.items():
        help_text = "Outside systems to which the calls of a step are on hold."
        labels = {"service": name, "step": step}
        yield gauge("saga_step_hold_destinations", help_text, **labels)(sum(numbers.values()))
        if True in numbers:
            help_text = "Outside systems to which the calls of a step are on hold by themselves."
            automatic = "saga_step_automatic_hold_destinations"
            yield gauge(automatic, help_text, **labels)(numbers[True])


def _of_destination(destination: str) -> dict[str, str]:
    """Return the label of a destination. To Prometheus, a missing label is an empty one."""
    return {"destination": destination} if destination else {}


def _reached_limits(name: str) -> Iterator[Metric]:
    help_text = "1 while a limit of calls is reached, so that messages wait for it."
    for key in call_limits.reached(get_service(name)):
        yield gauge("saga_call_limit_reached", help_text, service=name, key=key)(1)


def _shared_faults(name: str) -> Iterator[Metric]:
    destinations: dict[str, int] = {}
    in_all: dict[str, int] = {}

    for fault in table_stats.fault_stats(get_service(name)):
        help_text = "Orders for which a step failed lately by no fault of their own."
        labels = {"service": name, "step": fault.step, **_of_destination(fault.destination)}
        yield gauge("saga_step_fault_orders", help_text, **labels)(fault.sagas)
        in_all[fault.step] = fault.of_step
        if fault.destination:
            destinations[fault.step] = fault.number

    for step, number in destinations.items():
        help_text = "Outside systems that give no answer lately, and are not on hold."
        labels = {"service": name, "step": step}
        yield gauge("saga_step_fault_destinations", help_text, **labels)(number)

    for step, number in in_all.items():
        help_text = "Orders for which a step failed lately by no fault of their own, in all."
        labels = {"service": name, "step": step}
        yield gauge("saga_step_fault_orders_in_all", help_text, **labels)(number)


def _inbox(name: str) -> Iterator[Metric]:
    for inbox in table_stats.inbox_stats(get_service(name)):
        labels = {"service": name, "step": inbox.step, "state": inbox.state}

        rows = gauge("saga_inbox_open_rows", "Steps started and not finished.", **labels)
        yield rows(inbox.rows)

        oldest = gauge("saga_inbox_oldest_seconds", "Age of the oldest open step.", **labels)
        yield oldest(inbox.oldest_seconds)


def _sagas(name: str) -> Iterator[Metric]:
    by_kind = table_stats.kind_stats(get_home(name))
    sagas = table_stats.total(by_kind.values())
    texts = {
        "saga_open": "Sagas that have not ended.",
        "saga_stalled": "Open sagas that are due for a re-drive.",
        "saga_redriven": "Open sagas re-driven since they last moved.",
        "saga_open_oldest_seconds": "Age of the oldest open saga that is not on hold.",
        "saga_on_hold": "Open sagas that are on hold, or wait at a step that is.",
    }
    values = {
        "saga_open": sagas.open,
        "saga_stalled": sagas.stalled,
        "saga_redriven": sagas.redriven,
        "saga_open_oldest_seconds": sagas.oldest_seconds,
        "saga_on_hold": sagas.on_hold,
    }
    for metric, text in texts.items():
        yield gauge(metric, text, home=name)(values[metric])

    by_table = {kind.table: kind for kind in all_kinds()}
    for table, found in by_kind.items():
        labels = {"home": name, "kind": by_table[table].name}
        needing = gauge("saga_needing_attention", "Sagas that an operator must look at.", **labels)
        yield needing(found.needing_attention)


def _queues(services: list[str]) -> Iterator[Metric]:
    for queue, messages in queues.lengths(services).items():
        waiting = gauge("saga_queue_messages", "Messages that wait in the broker.", queue=queue)
        yield waiting(messages)
