"""Whatever happens, in whatever order: every order ends, and no invariant is broken.

Hypothesis makes up the sequences, and shortens one that fails. They are the same ones each time;
with PROPERTY_EXAMPLES=500 it looks at so many new ones.
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
from tests.properties.faults import Seam
from tests.properties.shop import METHODS
from tests.properties.world import World

MORE = int(os.environ.get("PROPERTY_EXAMPLES", "0"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(0 if MORE else 900),
    pytest.mark.django_db(transaction=True, databases=["default", "payments", "inventory"]),
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

# The steps that take money, or hold it.
TAKING = ("payments.charge", "payments.authorize", "payments.capture")

# Mostly what can be bought, so that most orders get far.
wanted = st.sampled_from([["MUG"], ["MUG", "PLATE"], ["PLATE"], ["RARE"], ["MUG", "VASE"]])
methods = st.sampled_from(METHODS) | st.just("pm_card_visa")
ways = st.sampled_from(sorted(SAGAS))
which = st.integers(0, 30)
seams = st.sampled_from(Seam)


class Orders(RuleBasedStateMachine):
    """Orders, and everything that may happen to them and to the messages and processes that
    carry them on.
    """

    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.undo = pytest.MonkeyPatch()
        self.world = World(self.undo)

    @initialize(orders=st.lists(st.tuples(wanted, methods, ways), min_size=1, max_size=3))
    def begin(self, orders: list[tuple[list[str], str, str]]) -> None:
        for skus, method, saga in orders:
            self.world.place(skus, method, saga)
        self.world.flush()

    @precondition(lambda self: len(self.world.orders) < MOST_ORDERS)
    @rule(skus=wanted, method=methods, saga=ways)
    def place(self, skus: list[str], method: str, saga: str) -> None:
        self.world.place(skus, method, saga)

    @rule(numbers=st.lists(which, min_size=1, max_size=8))
    def deliver(self, numbers: list[int]) -> None:
        for number in numbers:
            self.world.deliver(number)

    @rule(numbers=st.lists(st.just(0), min_size=4, max_size=12))
    def deliver_in_order(self, numbers: list[int]) -> None:
        for number in numbers:
            self.world.deliver(number)

    @rule(number=which)
    def repeat(self, number: int) -> None:
        self.world.repeat(number)

    @rule(number=which)
    def bring_back(self, number: int) -> None:
        self.world.bring_back(number)

    @rule(number=which)
    def lose(self, number: int) -> None:
        self.world.lose(number)

    @rule()
    def lose_all(self) -> None:
        self.world.lose_all()

    @rule()
    def flush(self) -> None:
        self.world.flush()

    @rule(rescue=st.booleans())
    def pass_time(self, rescue: bool) -> None:
        self.world.pass_time()
        self.world.flush()
        if rescue:
            self.world.rescue()

    @rule(number=which)
    def cancel(self, number: int) -> None:
        self.world.cancel(number)

    @rule(number=which, told=st.booleans())
    def report_failure(self, number: int, told: bool) -> None:
        if message := self.world.sent_before(number):
            self.world.report_failure(message, told=told)

    @rule(number=which, seam=seams, reported=st.sampled_from(["never", "as lost", "as failed"]))
    def crash(self, number: int, seam: Seam, reported: str) -> None:
        if message := self.world.take_step(number):
            with self.world.crashing(seam):
                self.world.run(message)
            if reported != "never":
                self.world.report_failure(message, told=reported == "as failed")

    @rule(seam=st.sampled_from([Seam.BEFORE_SENDING, Seam.BEFORE_MARKING]))
    def crash_the_relay(self, seam: Seam) -> None:
        with self.world.crashing(seam):
            self.world.flush()

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
        message = self.world.take_step(number)
        if message is None:
            return

        def meanwhile() -> None:
            if given_up:
                self.world.report_failure(message, told=True)
            self._go_on(cancelled, deliveries)

        with self.world.frozen(seam, meanwhile):
            self.world.run(message)

    @rule(
        number=which,
        step=st.sampled_from(TAKING),
        seam=st.sampled_from([Seam.BEFORE_GATEWAY, Seam.AFTER_GATEWAY]),
        cancelled=st.booleans(),
    )
    def freeze_past_the_undo(self, number: int, step: str, seam: Seam, cancelled: bool) -> None:
        """A charge sleeps between its two transactions until it is given up or called off,
        undone, and all is over.
        """
        message = self.world.take_step(number, step)
        if message is None:
            return

        def meanwhile() -> None:
            if cancelled:
                self.world.cancel_all_of(message)
            else:
                self.world.report_failure(message, told=True)
            self.world.flush()
            self.world.deliver_all()

        with self.world.frozen(seam, meanwhile):
            self.world.run(message)

    def teardown(self) -> None:
        try:
            self._check()
        finally:
            self.undo.undo()
            self.world.close()

    def _check(self) -> None:
        assert self.world.audit(expect_ended=False) == []
        self.world.settle()
        assert self.world.audit(expect_ended=True) == []

    def _go_on(self, cancelled: int | None, deliveries: list[int]) -> None:
        """Let the world go on while a worker is frozen for longer than its lease."""
        if cancelled is not None:
            self.world.cancel(cancelled)
        self.world.pass_time()
        self.world.flush()
        for number in deliveries:
            self.world.deliver(number)


def test_every_order_ends_and_no_invariant_is_broken_whatever_happens(caplog):
    caplog.set_level(
        logging.CRITICAL
    )  # what is logged of a thousand faults tells nothing of the one that matters
    run_state_machine_as_test(Orders, settings=PROFILE)
