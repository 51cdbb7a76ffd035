"""The real services, databases and broker in one process, with every message under control.

A message waits until the test delivers, repeats or drops it, in any order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from audit.load import saga_services
from audit.report import Report
from audit.run import audit
from orders.catalogue import LineWanted
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from orders.services import NewOrder, OrderFulfilledError, cancel_order, place_order
from sagas import sql
from sagas.celery import tasks
from sagas.delivery import relay
from sagas.execution.failures import StepFailed
from sagas.operations import redrive
from sagas.storage.registry import get_home
from tests.properties.captured_messages import CapturedMessages, Delivery
from tests.properties.catalogue import open_shop
from tests.properties.faults import Crash, Faults, Seam

__all__ = ["SagaHarness"]

# More rounds than the longest path of a saga has hops, with every attempt that can be lost on it.
ROUNDS = 40
# After this number of attempts a step is exhausted.
TRIES = 5

LEASES_OVER = """
UPDATE {inbox} SET due_at = now() - interval '1 s', send_at = now() - interval '1 s'
 WHERE state IN ('started', 'waiting') AND send_at IS NOT NULL
"""
DUE = "UPDATE {outbox} SET due_at = now() - interval '1 s' WHERE published_at IS NULL"
STALLED = "UPDATE orders_order SET rescue_at = now() - interval '1 s' WHERE ended_at IS NULL"
QUIET = """
SELECT (SELECT count(*) FROM {outbox} WHERE published_at IS NULL)
     + (SELECT count(*) FROM {inbox} WHERE state IN ('started', 'waiting'))
"""


TASKS: dict[str, Any] = {
    task.name: task
    for task in (tasks.run_step, tasks.fail_step, tasks.flush, tasks.record, tasks.make_rows_due)
}


class SagaHarness:
    """The orders of one customer, their messages, and the answers that the customer received."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bus: list[Delivery] = []
        self.steps_sent: list[Delivery] = []
        self.orders: list[UUID] = []
        self.cancelled: set[UUID] = set()
        self.too_late: set[UUID] = set()
        self.faults = Faults()
        self.faults.install(patch)
        self.ada, _ = User.objects.get_or_create(username="ada")
        open_shop()
        self.captured = CapturedMessages(*(service.name for service in saga_services()))

    def close(self) -> None:
        """Close the connection to the broker."""
        self.captured.close()

    def place(self, skus: list[str], method: str, saga: str) -> None:
        """Place an order for one piece of each SKU, under the saga of a name."""
        lines = tuple(LineWanted(sku, 1) for sku in skus)
        key = f"key-{len(self.orders)}"
        with override_settings(ORDER_SAGA=saga):
            placed = place_order(
                user_id=self.ada.pk,
                key=key,
                new=NewOrder(lines, method),
                render=lambda order: str(order.id),
            )
        self.orders.append(UUID(placed.order_id))

    def cancel(self, number: int) -> None:
        """Cancel an order, as its customer does, and remember the answer."""
        self._cancel(self.orders[number % len(self.orders)])

    def cancel_all_of(self, message: Delivery) -> None:
        """Cancel every order in the message of a step."""
        _, _, messages = message.args
        for one in messages:
            self._cancel(UUID(one["saga"]))

    def deliver(self, number: int) -> None:
        """Take a message from the bus and run it, as a worker does."""
        if self.bus:
            self.run(self.bus.pop(number % len(self.bus)))

    def deliver_all(self) -> None:
        """Deliver all messages, oldest first, and the messages that they cause."""
        while self.bus:
            self.deliver(0)

    def run(self, message: Delivery) -> None:
        """Run a message as a worker does, and its error callback if it raises."""
        self._as_a_process(lambda: self._run_task(message))

    def take_step(self, number: int, step: str = "") -> Delivery | None:
        """Take a message to a step (default: any step) from the bus, or return None."""
        under_way = [
            message
            for message in self.bus
            if message.task == "sagas.run_step" and step in ("", message.args[0])
        ]
        if not under_way:
            return None
        message = under_way[number % len(under_way)]
        self.bus.remove(message)
        return message

    def repeat(self, number: int) -> None:
        """Put a copy of a message on the bus."""
        if self.bus:
            self.bus.append(self.bus[number % len(self.bus)])

    def bring_back(self, number: int) -> None:
        """Put an old message of a step on the bus again."""
        if message := self.sent_before(number):
            self.bus.append(message)

    def lose(self, number: int) -> None:
        """Lose a message."""
        if self.bus:
            self.bus.pop(number % len(self.bus))

    def lose_all(self) -> None:
        """Lose all messages on the bus."""
        self.bus.clear()

    def flush(self) -> None:
        """Flush every service, as beat does."""
        for service in saga_services():
            self._as_a_process(lambda service=service: relay.flush(service))  # type: ignore[misc]

    def pass_time(self) -> None:
        """Let leases expire, make all next attempts due, and let every order count as stalled."""
        for service in saga_services():
            sql.run(service.alias, LEASES_OVER.format(inbox=service.inbox), {})
            sql.run(service.alias, DUE.format(outbox=service.outbox), {})
        sql.run("default", STALLED, {})

    def redrive(self) -> None:
        """Re-drive the orders that count as stalled."""
        self._as_a_process(lambda: redrive.run_once(get_home("orders")))

    def sent_before(self, number: int) -> Delivery | None:
        """Return a message of a step that was sent earlier, or None if there is none."""
        return self.steps_sent[number % len(self.steps_sent)] if self.steps_sent else None

    def report_failure(self, message: Delivery, *, isolated: bool) -> None:
        """Run the error callback of a step, whether or not the step failed.

        `isolated`: the step reports that it raised for the message alone, at every attempt up to
        the last. Otherwise the callback reports a lost worker.
        """
        step, plan, messages = message.args[:3]
        if not isolated:
            self.run(Delivery("sagas.fail_step", (step, plan, messages)))
            return
        for attempt in range(1, TRIES + 1):
            failures = [
                {"message": one, "attempt": attempt, "error": "boom", "alone": True}
                for one in messages
            ]
            self.run(Delivery("sagas.fail_step", (step, plan, messages, failures)))

    @contextmanager
    def crashing(self, seam: Seam) -> Iterator[None]:
        """Kill the first process that reaches a seam."""
        with self._armed(seam, _die):
            yield

    @contextmanager
    def frozen(self, seam: Seam, meanwhile: Callable[[], None]) -> Iterator[None]:
        """Freeze the first process that reaches a seam, and call `meanwhile` in the meantime."""
        with self._armed(seam, meanwhile):
            yield

    def settle(self) -> None:
        """End the faults: deliver, flush and re-drive until nothing is left to do."""
        for _ in range(ROUNDS):
            self.pass_time()
            self.flush()
            self.redrive()
            self.deliver_all()
            if self._is_quiet():
                return
        raise AssertionError(f"Not quiet after {ROUNDS} rounds: {self._states()}")

    def audit(self, *, expect_ended: bool) -> list[str]:
        """Return the violations that the audit finds, and the false answers to the customer."""
        return [
            *_violations(audit(expect_ended=expect_ended)),
            *(self._broken_promises() if expect_ended else ()),
        ]

    def _cancel(self, order: UUID) -> None:
        try:
            cancel_order(Order.objects.get(id=order))
        except OrderFulfilledError:
            self.too_late.add(order)
        else:
            self.cancelled.add(order)

    def _run_task(self, message: Delivery) -> None:
        try:
            TASKS[message.task](*message.args)
        except StepFailed as failed:
            self.bus.append(
                Delivery(
                    "sagas.fail_step", (*message.args[:3], msgspec.to_builtins(failed.failures))
                )
            )

    def _as_a_process(self, work: Callable[[], object]) -> None:
        """Run code that a fault may kill, and collect the messages that it sent."""
        try:
            work()
        except Crash:
            pass
        finally:
            self._collect()

    def _collect(self) -> None:
        """Take the messages from the broker, in an order that does not depend on ids.

        Hypothesis needs the same order in every run to repeat a failure.
        """
        fresh = sorted(self.captured.take(), key=self._place_of)
        self.bus += [message for message in fresh if message.task != "sagas.flush"]
        self.steps_sent += [message for message in fresh if message.task == "sagas.run_step"]

    def _place_of(self, message: Delivery) -> str:
        text = msgspec.json.encode(message.args).decode()
        numbers = [number for number, order in enumerate(self.orders) if str(order) in text]
        return f"{message.task} {message.args[0]} {numbers}"

    @contextmanager
    def _armed(self, seam: Seam, act: Callable[[], None]) -> Iterator[None]:
        self.faults.armed[seam] = act
        try:
            yield
        finally:
            self.faults.armed.clear()

    def _is_quiet(self) -> bool:
        if Order.objects.filter(ended_at=None).exists():
            return False
        return not any(
            sql.fetch(service.alias, QUIET.format(outbox=service.outbox, inbox=service.inbox), {})[
                0
            ][0]
            for service in saga_services()
        )

    def _states(self) -> list[str]:
        found = [str(order) for order in Order.objects.all()]
        for service in saga_services():
            statement = f"SELECT step, state, attempts, error FROM {service.inbox} ORDER BY id"
            found += [" ".join(map(str, row)) for row in sql.fetch(service.alias, statement, {})]
        return found

    def _broken_promises(self) -> Iterator[str]:
        ends = dict(Order.objects.values_list("id", "status"))
        asked = set(
            Order.objects.filter(plan__saga=AUTHORIZE_FIRST.name).values_list("id", flat=True)
        )
        yield from (
            f"order {order} was answered with 201, but does not exist"
            for order in self.orders
            if order not in ends
        )
        yield from (
            f"{order} was cancelled, but is {ends[order]}"
            for order in self.cancelled - asked
            if ends[order] != "cancelled"
        )
        yield from (
            f"{order} was reported as fulfilled, but is {ends[order]}"
            for order in self.too_late
            if ends[order] != "fulfilled"
        )


def _die() -> None:
    raise Crash


def _violations(report: Report) -> list[str]:
    return [
        f"{verdict.invariant.id}: {one.subject} {one.detail}"
        for verdict in report.verdicts
        for one in verdict.shown
    ]
