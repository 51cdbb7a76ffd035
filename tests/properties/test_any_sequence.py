"""In any sequence of events and faults, every order ends and every invariant holds.

Hypothesis generates the sequences, and shortens a sequence that fails. They are the same in each
run, unless PROPERTY_EXAMPLES=500 asks for that number of new sequences.
"""

import logging
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orders.saga import SAGAS
from tests.properties.catalogue import METHODS
from tests.properties.faults import Seam
from tests.properties.harness import SagaHarness

MORE = int(os.environ.get("PROPERTY_EXAMPLES", "0"))
pytestmark = [
    pytest.mark.timeout(0 if MORE else 900),
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

PROFILE = settings(
    max_examples=MORE or 20,
    stateful_step_count=20,
    derandomize=not MORE,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

MOST_ORDERS = 5

# The steps that capture or authorize money.
TAKING = ("payments.charge", "payments.authorize", "payments.capture")

# Most products are in stock, so that most orders get far.
wanted = st.sampled_from([["MUG"], ["MUG", "PLATE"], ["PLATE"], ["RARE"], ["MUG", "VASE"]])
methods = st.sampled_from(METHODS) | st.just("pm_card_visa")
ways = st.sampled_from(sorted(SAGAS))
which = st.integers(0, 30)
seams = st.sampled_from(Seam)


class Orders(RuleBasedStateMachine):
    """Orders, and the events and faults that may happen to them, their messages and processes."""

    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.undo = pytest.MonkeyPatch()
        self.harness = SagaHarness(self.undo)

    @initialize(orders=st.lists(st.tuples(wanted, methods, ways), min_size=1, max_size=3))
    def begin(self, orders: list[tuple[list[str], str, str]]) -> None:
        for skus, method, saga in orders:
            self.harness.place(skus, method, saga)
        self.harness.flush()

    @precondition(lambda self: len(self.harness.orders) < MOST_ORDERS)
    @rule(skus=wanted, method=methods, saga=ways)
    def place(self, skus: list[str], method: str, saga: str) -> None:
        self.harness.place(skus, method, saga)

    @rule(numbers=st.lists(which, min_size=1, max_size=8))
    def deliver(self, numbers: list[int]) -> None:
        for number in numbers:
            self.harness.deliver(number)

    @rule(numbers=st.lists(st.just(0), min_size=4, max_size=12))
    def deliver_in_order(self, numbers: list[int]) -> None:
        for number in numbers:
            self.harness.deliver(number)

    @rule(number=which)
    def repeat(self, number: int) -> None:
        self.harness.repeat(number)

    @rule(number=which)
    def bring_back(self, number: int) -> None:
        self.harness.bring_back(number)

    @rule(number=which)
    def lose(self, number: int) -> None:
        self.harness.lose(number)

    @rule()
    def lose_all(self) -> None:
        self.harness.lose_all()

    @rule()
    def flush(self) -> None:
        self.harness.flush()

    @rule(rescue=st.booleans())
    def pass_time(self, rescue: bool) -> None:
        self.harness.pass_time()
        self.harness.flush()
        if rescue:
            self.harness.redrive()

    @rule(number=which)
    def cancel(self, number: int) -> None:
        self.harness.cancel(number)

    @rule(number=which, isolated=st.booleans())
    def report_failure(self, number: int, isolated: bool) -> None:
        if message := self.harness.sent_before(number):
            self.harness.report_failure(message, isolated=isolated)

    @rule(number=which, seam=seams, reported=st.sampled_from(["never", "as lost", "as failed"]))
    def crash(self, number: int, seam: Seam, reported: str) -> None:
        if message := self.harness.take_step(number):
            with self.harness.crashing(seam):
                self.harness.run(message)
            if reported != "never":
                self.harness.report_failure(message, isolated=reported == "as failed")

    @rule(seam=st.sampled_from([Seam.BEFORE_SENDING, Seam.BEFORE_MARKING]))
    def crash_the_relay(self, seam: Seam) -> None:
        with self.harness.crashing(seam):
            self.harness.flush()

    @rule(
        number=which,
        seam=seams,
        given_up=st.booleans(),
        cancelled=st.none() | which,
        deliveries=st.lists(which, max_size=6),
    )
    def freeze(
        self, number: int, seam: Seam, given_up: bool, cancelled: int | None, deliveries: list[int]
    ) -> None:
        message = self.harness.take_step(number)
        if message is None:
            return

        def meanwhile() -> None:
            if given_up:
                self.harness.report_failure(message, isolated=True)
            self._go_on(cancelled, deliveries)

        with self.harness.frozen(seam, meanwhile):
            self.harness.run(message)

    @rule(
        number=which,
        step=st.sampled_from(TAKING),
        seam=st.sampled_from([Seam.BEFORE_GATEWAY, Seam.AFTER_GATEWAY]),
        cancelled=st.booleans(),
    )
    def freeze_past_the_undo(self, number: int, step: str, seam: Seam, cancelled: bool) -> None:
        """Freeze a charge between its two transactions until its order is undone and has ended."""
        message = self.harness.take_step(number, step)
        if message is None:
            return

        def meanwhile() -> None:
            if cancelled:
                self.harness.cancel_all_of(message)
            else:
                self.harness.report_failure(message, isolated=True)
            self.harness.flush()
            self.harness.deliver_all()

        with self.harness.frozen(seam, meanwhile):
            self.harness.run(message)

    def teardown(self) -> None:
        try:
            self._check()
        finally:
            self.undo.undo()
            self.harness.close()

    def _check(self) -> None:
        assert self.harness.audit(expect_ended=False) == []
        self.harness.settle()
        assert self.harness.audit(expect_ended=True) == []

    def _go_on(self, cancelled: int | None, deliveries: list[int]) -> None:
        """Go on while a worker is frozen for longer than its lease."""
        if cancelled is not None:
            self.harness.cancel(cancelled)
        self.harness.pass_time()
        self.harness.flush()
        for number in deliveries:
            self.harness.deliver(number)


def test_every_order_ends_and_no_invariant_is_broken_in_any_sequence(caplog):
    caplog.set_level(logging.CRITICAL)  # the log lines of a thousand faults hide the real failure
    run_state_machine_as_test(Orders, settings=PROFILE)
