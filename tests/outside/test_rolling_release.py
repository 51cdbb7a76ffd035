"""Workers of two releases, of which one does not know a step, take messages of the same queue."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from django.db import connections

from inventory.models import Inbox as InventoryInbox
from orders.models import Order, TimelineEvent
from orders.saga import PLACE_ORDER
from sagas.definition.plan import Plan
from tests.outside.harness import SHORT_TIMES, System
from tests.outside.releases.plans import EARLIER, LATER
from tests.outside.test_bad_release import (
    RESERVE,
    assert_all_fulfilled,
    fulfilled,
    place,
    probes,
)
from tests.processes import LIMIT, ROOT, beat, environment, until, worker
from tests.system.harness import SERVICES, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

# Seconds between two orders, and the number after which an order is for more than the stock has.
PACE = 0.2
SOLD_OUT_EACH = 12


class Load:
    """Places orders in a thread while the context lasts, under each of some plans in turn."""

    def __init__(self, client, monkeypatch) -> None:
        self.plans: Sequence[Plan] = [EARLIER]
        self.placed: dict[str, Plan] = {}
        self.sold_out: set[str] = set()
        self._client = client
        self._monkeypatch = monkeypatch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Place no further order. Wait until the last one is placed."""
        self._over.set()
        self._thread.join(30)

    def wait_for(self, count: int) -> None:
        """Wait until further orders are placed."""
        enough = len(self.placed) + count
        until(lambda: len(self.placed) >= enough, f"{count} further orders are placed")

    def of(self, plan: Plan) -> list[str]:
        """Return the orders that were placed under a plan."""
        return [placed for placed, its_plan in self.placed.items() if its_plan is plan]

    def _run(self) -> None:
        while not self._over.wait(PACE):
            number = len(self.placed)
            plan = self.plans[number % len(self.plans)]
            self._monkeypatch.setattr(PLACE_ORDER, "plan", plan)
            is_sold_out = number % SOLD_OUT_EACH == SOLD_OUT_EACH - 1
            wanted = {"sku": "RARE", "quantity": 9} if is_sold_out else {}
            placed = order(self._client, f"rolling-{number}", **wanted)
            self.placed[placed] = plan
            if is_sold_out:
                self.sold_out.add(placed)
        connections.close_all()


def of_release(name):
    """Return the environment of a process of a release."""
    return {**SHORT_TIMES, "DJANGO_SETTINGS_MODULE": f"tests.outside.releases.{name}.settings"}


def upgrade_check(environ):
    """Hold a release against the sagas in flight; return the exit code and the output."""
    checked = subprocess.run(
        [sys.executable, "manage.py", "upgrade_check", "--before", "workers"],
        cwd=ROOT,
        env={**environment(), **environ},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return checked.returncode, checked.stdout + checked.stderr


def done(step):
    return InventoryInbox.objects.filter(step=step, state="done").count()


def assert_all_ended_as_wanted(load):
    assert {outcome(each) for each in load.sold_out} == {("cancelled", "out_of_stock")}
    assert_all_fulfilled(load.placed.keys() - load.sold_out)
    assert not Order.objects.filter(needs_attention=True).exists()
    assert not TimelineEvent.objects.filter(type="saga.needs_attention").exists()


def test_a_deployment_adds_renames_and_removes_a_step_under_load(api_client, monkeypatch):
    earlier, later = of_release("earlier"), of_release("later")
    with ExitStack() as running, Load(api_client, monkeypatch) as load:
        running.enter_context(beat(environ=SHORT_TIMES))
        load.wait_for(2)
        code, found = upgrade_check(later)
        assert code == 1, found
        assert "inventory.label: " in found
        assert "open sagas may still run it" in found
        assert upgrade_check(earlier)[0] == 0

        leaving, staying = (
            running.enter_context(worker(*SERVICES, environ=earlier)) for _ in range(2)
        )
        until(lambda: done("inventory.ship") >= 5, "the earlier release ships", process=leaving)

        first_new = running.enter_context(worker(*SERVICES, environ=later))
        load.plans = [EARLIER, LATER]
        load.wait_for(20)
        until(
            lambda: done("inventory.dispatch") >= 5,
            "the later release dispatches beside the earlier one",
            process=first_new,
        )

        assert leaving.stop() == 0, leaving.output()[-4000:]
        second_new = running.enter_context(worker(*SERVICES, environ=later))
        load.wait_for(20)
        load.plans = [LATER]
        load.wait_for(10)

        until(
            lambda: not Order.objects.filter(id__in=load.of(EARLIER), ended_at=None).exists(),
            "the orders of the earlier release have ended",
            process=staying,
        )
        code, found = upgrade_check(later)
        assert code == 0, found
        assert staying.stop() == 0, staying.output()[-4000:]
        load.wait_for(10)
        load.stop()
        System([first_new, second_new]).wait_until_idle()
        output_of_earlier = leaving.output() + staying.output()
        output_of_later = first_new.output() + second_new.output()

    assert_all_ended_as_wanted(load)
    put_back = "No process of this service knows the step"
    assert put_back in output_of_earlier
    assert put_back in output_of_later
    assert done("inventory.unpack")
    assert done("inventory.unlabel")


def test_a_step_that_half_of_the_workers_do_not_know_is_run_by_the_others(api_client):
    older = {**SHORT_TIMES, "DJANGO_SETTINGS_MODULE": "tests.outside.older.settings"}
    with worker(*SERVICES, environ=older) as old, beat(environ=SHORT_TIMES):
        orders = place(api_client, 6, prefix="rolling")
        until(
            lambda: InventoryInbox.objects.filter(step=RESERVE, state="waiting").count() == 6,
            "the older worker has put every order back",
            process=old,
        )
        with worker(*SERVICES, environ=SHORT_TIMES) as new:
            until(lambda: fulfilled(orders), "all orders are fulfilled", process=new)
    assert_all_fulfilled(orders)
    assert probes(RESERVE) is None
