"""Parallel groups on the databases of three services: the fork, the join, and the way back."""

from datetime import timedelta
from functools import partial
from threading import Barrier
from uuid import UUID

import msgspec
import pytest

from sagas.definition.messages import to_json
from sagas.definition.plan import Plan
from sagas.delivery import admission, publisher
from sagas.execution import runner
from sagas.operations import holds, redrive
from sagas.storage import arrivals, inbox, outbox, timeline
from sagas.storage.registry import get_home, get_service
from tests import broker
from tests.gifts.harness import begin, count_failure, deliver, facts, gift, messages, rows, states
from tests.gifts.steps import GiftChosen
from tests.integration.races import at_once
from tests.trips.harness import make_due
from tests.trips.models import Cruise, Watermark

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

__all__ = ["gift"]

JOIN, BRANCHES = "trips.send", ("inventory.wrap", "payments.engrave")
HOME = get_home("trips")


@pytest.fixture(autouse=True)
def _nothing_is_sent():
    """Let each test deliver the messages itself."""
    with admission.suspended():
        yield


@pytest.fixture
def forked(gift) -> UUID:
    """A gift whose group has begun: its step before the group is done."""
    saga: UUID = begin(gift)
    deliver("trips.pick", saga)
    return saga


@pytest.fixture
def arriving(forked: UUID) -> UUID:
    """A gift whose branches are both done. Neither message has arrived at the join."""
    for branch in BRANCHES:
        deliver(branch, forked)
    return forked


def test_the_join_runs_only_with_the_messages_of_all_branches(arriving):
    for _ in range(2):
        deliver(JOIN, arriving, only="inventory.wrap")
    assert JOIN not in states(arriving)

    for _ in range(2):
        deliver(JOIN, arriving, only="payments.engrave")
        deliver(JOIN, arriving, only="inventory.wrap")
    assert facts(arriving, JOIN) == [{"paper": "paper for Ada", "text": "For Ada"}]


def test_messages_that_arrive_at_the_same_time_run_the_join_once(arriving, monkeypatch):
    both, read = Barrier(2, timeout=20), arrivals.arrived

    def after_both(*args):
        both.wait()
        return read(*args)

    monkeypatch.setattr(arrivals, "arrived", after_both)
    sent = [(row.plan, row.message()) for row in rows(arriving) if row.target == JOIN]
    assert len(sent) == 2

    at_once([partial(runner.run, JOIN, plan, [message]) for plan, message in sent])

    assert len(facts(arriving, JOIN)) == 1


def test_both_messages_may_be_in_one_batch(arriving):
    plan = rows(arriving)[0].plan
    runner.run(JOIN, plan, messages(JOIN, arriving))
    assert len(facts(arriving, JOIN)) == 1


def test_the_loss_of_a_worker_with_the_first_message_is_no_failure_of_the_join(arriving):
    deliver(JOIN, arriving, only="inventory.wrap")
    row = next(each for each in rows(arriving) if each.step == "inventory.wrap")
    count_failure(JOIN, arriving, lost=True, only="inventory.wrap")
    assert JOIN not in states(arriving)

    count_failure(JOIN, arriving, lost=True, only="payments.engrave")
    assert states(arriving)[JOIN] == "waiting"
    make_due()
    [due] = inbox.claim_due(get_service("trips"), limit=10)
    assert due.stored.message.branch == ""
    runner.run(JOIN, row.plan, [due.stored.message])
    assert len(facts(arriving, JOIN)) == 1


def test_a_lost_message_to_one_branch_is_sent_again_by_the_re_drive(forked):
    deliver("inventory.wrap", forked)
    deliver(JOIN, forked)
    for name in ("trips", "inventory", "payments"):
        redrive.republish(get_service(name), [forked])

    again = outbox.claim(get_service("trips"), limit=10)
    assert {step for row in again for step in row.recipients()} >= set(BRANCHES)
    deliver("payments.engrave", forked)
    deliver(JOIN, forked)
    assert len(facts(forked, JOIN)) == 1


def test_an_old_message_of_a_purged_saga_is_parked_and_does_not_join(arriving):
    later = rows(arriving)[0].started_at + timedelta(days=1)
    Watermark.objects.create(id=9, home="trips", before=later)
    deliver(JOIN, arriving)
    assert (states(arriving)[JOIN], facts(arriving, JOIN)) == ("waiting", [])
    assert not any(map(arrivals.is_arrival, states(arriving)))


def test_a_refusal_bars_a_branch_that_has_not_begun(forked):
    plan = rows(forked)[0].plan
    assert plan.after_refusal("inventory.wrap") == "payments.unengrave"
    count = len(messages("payments.engrave", forked))
    deliver_refusal(forked, "inventory.wrap")
    for undo in ("payments.unengrave", "inventory.unwrap", "trips.unpick"):
        deliver(undo, forked)
    deliver("payments.engrave", forked)
    assert count == 1
    assert states(forked)["payments.engrave"] == "refused"
    assert facts(forked, "payments.unengrave") == [{"applied": False, "own": None}]


def deliver_refusal(saga: UUID, step: str) -> None:
    """Let a step be given up."""
    for attempt in range(1, 10):
        if states(saga).get(step) == "refused":
            return
        count_failure(step, saga, attempt=attempt)


class TestTheRelay:
    @pytest.fixture(autouse=True)
    def _sends(self, forked):
        broker.empty()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(admission, "_is_suspended", False)
            yield
        broker.empty()

    def test_one_row_goes_to_every_branch(self, forked):
        fork = outbox.claim(get_service("trips"), limit=10)
        publisher.publish(get_service("trips"), fork)
        sent = [one.args[0] for queue in ("inventory", "payments") for one in broker.take(queue)]
        assert [step for step in sent if step in BRANCHES] == list(BRANCHES)

    def test_a_row_is_due_again_if_one_of_its_messages_cannot_be_sent(self, forked, monkeypatch):
        sent, send = [], publisher._send

        def fail_at_the_second(batch, *more):
            sent.append(batch.step)
            if len(sent) == 2:
                raise OSError("The broker is away.")
            send(batch, *more)

        monkeypatch.setattr(publisher, "_send", fail_at_the_second)
        fork = [row for row in outbox.claim(get_service("trips"), limit=10) if row.seq == 1]
        with pytest.raises(OSError, match="away"):
            publisher.publish(get_service("trips"), fork)
        assert sent == list(BRANCHES)
        assert [row.id for row in outbox.claim(get_service("trips"), limit=10)] == [fork[0].id]

    @pytest.mark.parametrize(
        ("queue", "waits"), [("inventory", True), ("payments", True), ("orders", False)]
    )
    def test_a_row_waits_while_the_queue_of_any_branch_is_full(self, forked, queue, waits):
        claimed = outbox.claim(get_service("trips"), limit=10, full_queues={queue})
        assert ("inventory.wrap" not in {row.target for row in claimed}) is waits


class TestTheTimeline:
    @pytest.fixture
    def tracked(self, forked):
        return lambda: Cruise.objects.get(pk=forked)

    @staticmethod
    def record(saga, *steps):
        entries = [row.entry(row.step.partition(".")[0]) for row in rows(saga) if row.step in steps]
        timeline.record(HOME, entries)

    @pytest.mark.parametrize("together", [True, False])
    def test_a_hold_at_one_branch_stays_while_the_other_branch_moves(
        self, forked, tracked, together
    ):
        payments = get_service("payments")
        holds.hold(payments, step="payments.engrave", by="olga", why="The bank is down.")
        deliver("payments.engrave", forked)
        deliver("inventory.wrap", forked)
        for steps in [BRANCHES] if together else [BRANCHES[1:], BRANCHES[:1]]:
            self.record(forked, *steps)
        assert tracked().on_hold == "payments.engrave"

        holds.release(payments, step="payments.engrave")
        deliver("payments.engrave", forked)
        self.record(forked, "payments.engrave")
        assert tracked().on_hold == ""


def test_a_plan_without_a_group_has_the_bytes_that_an_earlier_release_reads(gift):
    plain = gift.plan_for(GiftChosen(engraved=False))
    sequential = plain.without({"inventory.count", "payments.rate"})
    steps = msgspec.json.decode(to_json(sequential))["steps"]
    assert [step["name"] for step in steps] == [
        "trips.pick",
        "inventory.wrap",
        JOIN,
        "trips.archive",
    ]
    assert msgspec.json.decode(to_json(gift.plan), type=Plan) == gift.plan
