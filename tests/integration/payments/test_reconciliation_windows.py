"""Scheduled windows are compared part by part. Each part commits with its cursor, so that tasks are
short, and a crash, a slow gateway or a long window loses nothing.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from payments import tasks
from payments.gateways.base import Movement, StatementUnavailable
from payments.gateways.stripe import StripeGateway
from payments.models import Dispute, Drift, Payment, Reconciliation
from payments.reconciliation import (
    Budget,
    last_result,
    next_window,
    parts,
    reconcile,
    reconcile_scheduled,
    windows,
)
from tests.integration.payments.harness import order, payment, run
from tests.integration.payments.scripted_gateway import PATH, ScriptedGateway, movement
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

# More tasks than any of these windows needs.
MOST_TASKS = 200


class Clock:
    """A clock that stands still until a test sets it forward, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def budget(self, seconds: float) -> Callable[[int], Budget]:
        """Return a function that gives each gateway this time."""
        return lambda gateways: Budget(seconds, clock=self)


@pytest.fixture
def scripted(settings: Settings) -> Iterator[type[ScriptedGateway]]:
    settings.PAYMENT_GATEWAY = PATH
    ScriptedGateway.reset()
    yield ScriptedGateway
    ScriptedGateway.reset()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def spread(count: int, *, per: timedelta = MINUTE, **fields: Any) -> list[Movement]:
    """Return captures of unknown orders, in regular intervals from a minute into the window on."""
    since, _ = next_window()
    return [movement(since + MINUTE + number * per, **fields) for number in range(count)]


def each_takes(clock: Clock, seconds: float) -> Callable[[Movement], None]:
    def wait(_: Movement) -> None:
        clock.now += seconds

    return wait


def the_window() -> Reconciliation:
    return Reconciliation.objects.get(scheduled=True)


def cursor(window: Reconciliation) -> datetime:
    assert window.compared_until is not None
    return window.compared_until


def run_tasks(budget: Callable[[int], Budget]) -> int:
    """Run tasks until no window is left; return how many ran."""
    for number in range(1, MOST_TASKS):
        if not reconcile_scheduled(budget):
            return number
    pytest.fail(f"The window is not compared after {MOST_TASKS} tasks: {the_window().__dict__}")


def test_a_window_is_compared_by_several_tasks(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    scripted.movements = spread(600)
    scripted.before_movement = each_takes(clock, 1.0)
    assert reconcile_scheduled(clock.budget(30.0)) == 1
    first = the_window()
    assert first.finished_at is None
    assert first.since < cursor(first) < first.until
    assert 0 < first.movements < 600
    assert Drift.objects.count() == first.movements

    assert run_tasks(clock.budget(30.0)) > 10
    window = the_window()
    assert window.compared_until == window.until
    assert window.finished_at
    assert (window.movements, window.drifts, Drift.objects.count()) == (600, 600, 600)
    assert (window.leased_until, window.error) == (None, "")


def test_4600_charges_at_a_second_and_a_half_a_page_are_compared(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    """In twice the time that the pages take, and without a task longer than 12 seconds."""
    charges = spread(4600, per=timedelta(seconds=0.02))  # 50 a second
    scripted.movements = charges
    longest = 0.0

    def page(each: Movement) -> None:
        clock.now += 1.5 / 100

    scripted.before_movement = page
    unfinished = 1
    while unfinished:
        start = clock.now
        unfinished = reconcile_scheduled(clock.budget(tasks.RECONCILE_BUDGET))
        longest = max(longest, clock.now - start)
    assert the_window().movements == 4600
    assert Drift.objects.count() == 4600
    assert longest < 12
    assert clock.now < 2 * 46 * 1.5


def test_it_keeps_up_with_50_charges_a_second(
    scripted: type[ScriptedGateway], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In less than half the time in which they came, because windows overlap by half. A page of
    Stripe takes a second and a half, and four are read at once. Foreign charges are not stored.
    """
    monkeypatch.setattr(windows, "FIRST_WINDOW", 25 * MINUTE)
    scripted.movements = spread(30_000, per=timedelta(seconds=0.02), order_id=None)
    scripted.before_movement = each_takes(clock, 1.5 / 100 / StripeGateway.statement_readers)
    run_tasks(clock.budget(tasks.RECONCILE_BUDGET))
    assert the_window().movements == 30_000
    assert clock.now < 600 / 2


def test_a_window_starts_with_the_short_parts_of_the_last_one(
    scripted: type[ScriptedGateway], clock: Clock, settings: Settings
) -> None:
    settings.RECONCILE_SECONDS = 0
    run_tasks(clock.budget(60.0))
    for last, first in ((2.0, 2.0), (9999.0, 600.0)):
        Reconciliation.objects.update(part_seconds=last)
        windows.open_due()
        window = Reconciliation.objects.get(finished_at=None)
        assert window.part_seconds == first
        run_tasks(clock.budget(60.0))


def test_a_task_that_dies_loses_one_part_only(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    scripted.movements = spread(300)

    def die(each: Movement) -> None:
        if each is scripted.movements[200]:
            raise SystemExit

    scripted.before_movement = die
    with pytest.raises(SystemExit):
        reconcile_scheduled(clock.budget(60.0))
    window = the_window()
    stopped = cursor(window)
    assert stopped <= scripted.movements[200].at
    assert Drift.objects.count() == window.movements > 0

    scripted.before_movement = lambda each: None
    scripted.windows.clear()
    assert run_tasks(clock.budget(60.0)) == 1
    assert scripted.windows[0][0] == stopped
    assert the_window().movements == Drift.objects.count() == 300


def test_a_killed_worker_keeps_its_lease_until_it_ends(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    windows.open_due()
    assert windows.claim(PATH)
    assert windows.claim(PATH) is None
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    assert scripted.windows == []
    assert the_window().finished_at is None

    Reconciliation.objects.update(leased_until=timezone.now() - MINUTE)
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    assert the_window().finished_at


def test_a_worker_that_was_frozen_beyond_its_lease_stores_nothing(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    scripted.movements = spread(1)

    def freeze(each: Movement) -> None:
        scripted.before_movement = lambda each: None
        Reconciliation.objects.update(leased_until=timezone.now() - MINUTE)
        reconcile_scheduled(clock.budget(60.0))

    scripted.before_movement = freeze
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    window = the_window()
    assert window.finished_at
    assert (window.movements, window.drifts) == (1, 1)


def test_a_part_with_too_many_movements_is_halved(
    scripted: type[ScriptedGateway], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST", 10)
    scripted.movements = spread(100, per=timedelta(seconds=5))
    assert run_tasks(clock.budget(60.0)) == 1
    assert the_window().movements == Drift.objects.count() == 100


def test_many_movements_of_one_second_are_compared_without_a_budget(
    scripted: type[ScriptedGateway], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST", 10)
    scripted.movements = spread(50, per=timedelta(milliseconds=1))
    scripted.before_movement = each_takes(clock, 1.0)
    run_tasks(clock.budget(10.0))
    assert the_window().movements == 50


def test_a_movement_that_appears_late_is_found_in_the_next_window(
    scripted: type[ScriptedGateway], clock: Clock, settings: Settings
) -> None:
    assert run_tasks(clock.budget(60.0)) == 1
    scripted.movements = [movement(the_window().until - 30 * MINUTE)]
    assert run_tasks(clock.budget(60.0)) == 1
    assert Reconciliation.objects.count() == 1, "the next window is not due yet"

    settings.RECONCILE_SECONDS = 0
    assert run_tasks(clock.budget(60.0)) == 1
    first, second = Reconciliation.objects.order_by("id")
    assert second.since == first.until - HOUR
    assert Drift.objects.count() == 1


def test_windows_of_the_command_do_not_move_the_scheduled_ones(
    scripted: type[ScriptedGateway], clock: Clock, settings: Settings
) -> None:
    settings.RECONCILE_SECONDS = 0
    run_tasks(clock.budget(60.0))
    next_since, _ = next_window()
    reconcile(timezone.now() - MINUTE, timezone.now() + HOUR)
    assert next_window()[0] == next_since
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    assert Reconciliation.objects.filter(scheduled=True).latest("id").since == next_since


def test_no_window_is_opened_beside_one_that_has_just_finished(
    scripted: type[ScriptedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = windows.next_window

    def finished_meanwhile(gateway: str = "") -> tuple[datetime, datetime]:
        since, until = read(gateway)
        if gateway:
            Reconciliation.objects.create(
                gateway=gateway,
                since=since,
                until=until,
                movements=0,
                drifts=0,
                finished_at=timezone.now(),
            )
        return since, until

    monkeypatch.setattr(windows, "next_window", finished_meanwhile)
    assert windows.open_due() == []
    assert Reconciliation.objects.count() == 1


def test_a_window_of_an_older_release_is_continued(scripted: type[ScriptedGateway]) -> None:
    """It has no gateway, and an end in the future was not compared beyond its own time."""
    end = timezone.now() - 2 * HOUR
    Reconciliation.objects.create(since=end - HOUR, until=end, movements=0, drifts=0)
    assert next_window()[0] == end - HOUR
    Reconciliation.objects.create(since=end, until=end + 9 * HOUR, movements=0, drifts=0)
    assert next_window()[0] < timezone.now() - HOUR


def test_a_gateway_without_a_statement_leaves_the_cursor_and_says_why(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    scripted.movements = spread(1)

    def fail(each: Movement) -> None:
        raise StatementUnavailable("The statement is not ready.")

    scripted.before_movement = fail
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    window = the_window()
    assert (window.compared_until, window.finished_at) == (window.since, None)
    assert (window.error, window.leased_until) == ("The statement is not ready.", None)
    assert last_result().error == "The statement is not ready."
    assert last_result().finished_at is None

    scripted.before_movement = lambda each: None
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    assert last_result().error == ""
    assert last_result().finished_at == the_window().finished_at
    assert last_result().open == 1


def test_every_gateway_with_payments_is_compared(
    scripted: type[ScriptedGateway], clock: Clock, settings: Settings
) -> None:
    settings.PAYMENT_GATEWAY = "simulated"
    paid, elsewhere = order(), order()
    run("payments.charge", paid, elsewhere)
    Payment.objects.filter(order_id=elsewhere.saga).update(gateway=PATH)
    now = timezone.now()
    found = reconcile(now - HOUR, now + HOUR)
    assert found.gateways == ("simulated", PATH)
    assert [(each.kind, each.order_id) for each in found.open] == [("uncharged", elsewhere.saga)]

    run_tasks(clock.budget(60.0))
    finished = Reconciliation.objects.filter(scheduled=True).exclude(finished_at=None)
    assert set(finished.values_list("gateway", flat=True)) == {"simulated", PATH}


def test_a_gateway_that_this_release_does_not_have_is_reported(
    scripted: type[ScriptedGateway], clock: Clock, settings: Settings
) -> None:
    paid = order()
    settings.PAYMENT_GATEWAY = "simulated"
    run("payments.charge", paid)
    Payment.objects.update(gateway="piggy-bank")
    assert reconcile_scheduled(clock.budget(60.0)) == 0
    results = {each.gateway: each for each in last_result().gateways}
    assert results["simulated"].finished_at
    assert "'piggy-bank'" in results["piggy-bank"].error
    assert last_result().finished_at is None


@pytest.mark.parametrize(
    ("kind", "stored", "followed"),
    [
        ("dispute", "", True),
        ("dispute", "open", False),
        ("dispute_return", "open", True),
        ("dispute_return", "won", False),
    ],
)
def test_a_dispute_that_payments_does_not_know_is_followed_up(
    scripted: type[ScriptedGateway],
    clock: Clock,
    settings: Settings,
    kind: str,
    stored: str,
    followed: bool,
) -> None:
    settings.PAYMENT_GATEWAY = "simulated"
    paid = order()
    run("payments.charge", paid)
    settings.PAYMENT_GATEWAY = PATH
    charge = str(payment(paid).charge_id)
    if stored:
        Dispute.objects.create(
            id="dp_1",
            order_id=paid.saga,
            charge_id=charge,
            amount=1250,
            currency="eur",
            status=stored,
            reason="fraudulent",
            opened_at=timezone.now(),
        )
    (withdrawn,) = spread(1, kind=kind, id="dp_1", charge_id=charge, amount=1250)
    scripted.movements = [withdrawn]
    run_tasks(clock.budget(60.0))
    assert bool(payment(paid).balance_due_at) is followed
    assert not Drift.objects.filter(order_id=paid.saga, reference="dp_1").exists()


def test_the_task_sends_the_next_one_while_a_window_is_left(
    scripted: type[ScriptedGateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        tasks.reconcile_payments, "apply_async", lambda **options: sent.append(options)
    )
    monkeypatch.setattr(tasks, "RECONCILE_BUDGET", -1.0)
    tasks.reconcile_payments()
    assert sent == [{"queue": "payments"}]

    monkeypatch.setattr(tasks, "RECONCILE_BUDGET", 60.0)
    tasks.reconcile_payments()
    assert len(sent) == 1
    assert Reconciliation.objects.get().finished_at is not None
    tasks.reconcile_payments()
    assert Reconciliation.objects.count() == 1, "no window is due"


def test_a_broker_that_is_down_leaves_the_next_part_to_beat(
    scripted: type[ScriptedGateway], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def down(**options: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(tasks.reconcile_payments, "apply_async", down)
    monkeypatch.setattr(tasks, "RECONCILE_BUDGET", -1.0)
    tasks.reconcile_payments()
    assert Reconciliation.objects.get().finished_at is None
    assert "beat continues the reconciliation" in caplog.text


def test_slow_pages_of_stripe_are_compared_part_by_part(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task has less time than one page takes, so parts shrink to the shortest one."""
    monkeypatch.setattr(windows, "SETTLING_TIME", -MINUTE)
    monkeypatch.setattr(windows, "FIRST_WINDOW", MINUTE)
    orders = [order() for _ in range(30)]
    run("payments.charge", *orders)
    Payment.objects.filter(order_id=orders[0].saga).update(captured_amount=1)
    sandbox.fault("charges.list", "slow", seconds=0.05, times=None)
    ran = run_tasks(lambda gateways: Budget(0.02))
    assert ran > 2
    window = the_window()
    assert window.finished_at
    assert window.movements >= 30
    drift = Drift.objects.get(order_id=orders[0].saga)
    assert (drift.kind, drift.ours, drift.theirs) == ("amount", 1, 1250)


def test_a_window_that_is_read_in_several_threads_has_each_movement_once(
    scripted: type[ScriptedGateway], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "statement_readers", 4, raising=False)
    scripted.movements = spread(500)
    assert run_tasks(clock.budget(60.0)) == 1
    assert the_window().movements == Drift.objects.count() == 500
    starts = sorted(scripted.windows)
    assert all(end == start for (_, end), (start, _) in pairwise(starts))


def compared_until(gateway: str) -> datetime | None:
    return next(each.compared_until for each in last_result().gateways if each.gateway == gateway)


def test_the_result_shows_how_far_a_window_is_compared(
    scripted: type[ScriptedGateway], clock: Clock
) -> None:
    assert compared_until(PATH) is None
    scripted.movements = spread(600)
    scripted.before_movement = each_takes(clock, 1.0)
    reconcile_scheduled(clock.budget(30.0))
    assert compared_until(PATH) == the_window().compared_until
    assert last_result().finished_at is None
    run_tasks(clock.budget(30.0))
    assert compared_until(PATH) == the_window().until
