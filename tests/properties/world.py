"""The real services, databases and broker, with a test's hand on every message: what is sent lies
there until it is delivered, in whatever order, or lost. No process runs but the test's own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from audit.gather import services
from audit.report import Report
from audit.run import audit
from orders.catalogue import LineWanted
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from orders.services import NewOrder, OrderFulfilledError, cancel_order, place_order
from sagas.celery import tasks
from sagas.delivery import relay
from sagas.execution.retries import StepFailed
from sagas.operations import redrive
from sagas.storage import sql
from sagas.storage.registry import get_home
from tests.properties.faults import Crash, Faults, Seam
from tests.properties.postbag import Delivery, Postbag
from tests.properties.shop import open_shop

__all__ = ["World"]

# More rounds than the longest way of a saga has hops, there and back, with every try that can be
# lost on it.
ROUNDS = 40
# As many tries as make a step be given up.
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


class World:
    """Orders of one customer, whatever is under way for them, and what the customer was told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bus: list[Delivery] = []
        self.steps_sent: list[Delivery] = []
        self.orders: list[UUID] = []
        self.called_off: set[UUID] = set()
        self.too_late: set[UUID] = set()
        self.faults = Faults()
        self.faults.install(patch)
        self.ada, _ = User.objects.get_or_create(username="ada")
        open_shop()
        self.postbag = Postbag(*(service.name for service in services()))

    def close(self) -> None:
        """Leave the broker."""
        self.postbag.close()

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
        """Call an order off, as its customer does, and remember the answer."""
        self._cancel(self.orders[number % len(self.orders)])

    def cancel_all_of(self, message: Delivery) -> None:
        """Call off every order that a step's message is about."""
        _, _, messages = message.args
        for one in messages:
            self._cancel(UUID(one["saga"]))

    def deliver(self, number: int) -> None:
        """Take a message that is under way, and have a worker run it."""
        if self.bus:
            self.run(self.bus.pop(number % len(self.bus)))

    def deliver_all(self) -> None:
        """Deliver all that is under way, oldest first, and what comes of it."""
        while self.bus:
            self.deliver(0)

    def run(self, message: Delivery) -> None:
        """Run a message as a worker does, or the error callback if it raised."""
        self._as_a_process(lambda: self._run_task(message))

    def take_step(self, number: int, step: str = "") -> Delivery | None:
        """Take the message of a step that is under way, of any or of this one, if there is one."""
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
        """Have a message come once more."""
        if self.bus:
            self.bus.append(self.bus[number % len(self.bus)])

    def bring_back(self, number: int) -> None:
        """Have a step's message of any time come again, however late."""
        if message := self.sent_before(number):
            self.bus.append(message)

    def lose(self, number: int) -> None:
        """Lose a message."""
        if self.bus:
            self.bus.pop(number % len(self.bus))

    def lose_all(self) -> None:
        """Lose all that is under way."""
        self.bus.clear()

    def flush(self) -> None:
        """Have every service's relay send what is due, as beat does."""
        for service in services():
            self._as_a_process(lambda service=service: relay.flush(service))  # type: ignore[misc]

    def pass_time(self) -> None:
        """Let every lease run out, every next try come, and every order count as stalled."""
        for service in services():
            sql.run(service.alias, LEASES_OVER.format(inbox=service.inbox), {})
            sql.run(service.alias, DUE.format(outbox=service.outbox), {})
        sql.run("default", STALLED, {})

    def rescue(self) -> None:
        """Have the orders that count as stalled driven again."""
        self._as_a_process(lambda: redrive.run_once(get_home("orders")))

    def sent_before(self, number: int) -> Delivery | None:
        """Return the message of a step that was sent at some time."""
        return self.steps_sent[number % len(self.steps_sent)] if self.steps_sent else None

    def report_failure(self, message: Delivery, *, told: bool) -> None:
        """Have the error callback of a step run, true or not.

        `told`: by a step that says it raised, alone, at every try up to the last; else by a worker
        that was lost.
        """
        step, plan, messages = message.args[:3]
        if not told:
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
        """Have the first process that gets there die at a seam."""
        with self._armed(seam, _die):
            yield

    @contextmanager
    def frozen(self, seam: Seam, meanwhile: Callable[[], None]) -> Iterator[None]:
        """Have the first process that gets there freeze at a seam, and something else happen
        meanwhile.
        """
        with self._armed(seam, meanwhile):
            yield

    def settle(self) -> None:
        """Let the faults be over: deliver all, drive again what has stalled, until nothing is
        left to do.
        """
        for _ in range(ROUNDS):
            self.pass_time()
            self.flush()
            self.rescue()
            self.deliver_all()
            if self._is_quiet():
                return
        raise AssertionError(f"Not quiet after {ROUNDS} rounds: {self._states()}")

    def audit(self, *, expect_ended: bool) -> list[str]:
        """Return what the audit finds, and what the customer was told that is not so."""
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
            self.called_off.add(order)

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
        """Run something that may die at a seam, and take over what it has put into the broker."""
        try:
            work()
        except Crash:
            pass
        finally:
            self._collect()

    def _collect(self) -> None:
        """Take what lies in the broker; in an order that does not depend on ids, so that a
        failure can be repeated.
        """
        fresh = sorted(self.postbag.take(), key=self._place_of)
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
            for service in services()
        )

    def _states(self) -> list[str]:
        found = [str(order) for order in Order.objects.all()]
        for service in services():
            statement = f"SELECT step, state, attempts, error FROM {service.inbox} ORDER BY id"
            found += [" ".join(map(str, row)) for row in sql.fetch(service.alias, statement, {})]
        return found

    def _broken_promises(self) -> Iterator[str]:
        ends = dict(Order.objects.values_list("id", "status"))
        asked = set(
            Order.objects.filter(plan__saga=AUTHORIZE_FIRST.name).values_list("id", flat=True)
        )
        yield from (
            f"order {order} was answered, and is not there"
            for order in self.orders
            if order not in ends
        )
        yield from (
            f"{order} could be called off, and is {ends[order]}"
            for order in self.called_off - asked
            if ends[order] != "cancelled"
        )
        yield from (
            f"{order} was fulfilled, and is {ends[order]}"
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
