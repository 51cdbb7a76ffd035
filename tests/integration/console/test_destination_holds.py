"""Holds of the calls of a step to one outside system: the page, its runs and the log."""

from uuid import UUID

import pytest
from django.urls import reverse

from console.bulk_actions import runs
from console.bulk_actions.results import ActionRejected
from console.failures.grouping import failing_steps
from console.holds import current_holds
from console.models import Run
from inventory.models import Hold as InventoryHold
from orders.models import Hold as OrdersHold
from payments.models import Hold as PaymentsHold
from payments.models import Inbox
from payments.models import StepFault as PaymentsFault
from sagas import control
from sagas.definition.hold_scope import HoldScope
from sagas.ids import uuid7
from sagas.storage import automatic_holds
from sagas.storage.registry import get_service
from staff.models import LogEntry
from tests.broker import empty
from tests.integration.audit import harness as walked
from tests.integration.console.operators import member, outcomes, work

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]

PAGE, STEP = "/admin/holds/", "/admin/holds/step/"
CALLS = HoldScope("payments.charge", "stripe")
DRAFT = {"action": "hold_step", "step": "payments.charge", "destination": "stripe"}
RELEASE = {**DRAFT, "action": "release_step"}


@pytest.fixture(autouse=True)
def quiet():
    """Start with nothing in the broker."""
    empty()


@pytest.fixture
def approver(client, anna):
    client.force_login(anna)
    return client


def confirmed_by(anna, run):
    """Have an approver confirm a run as it is shown, and act on it."""
    seen = runs.preview(run).fingerprint
    runs.confirm(run.id, by=anna, reason="It moves.", fingerprint=seen)
    work()
    return outcomes(run)[0]


def held_here(destination="stripe"):
    """Place an order that waits at a hold of a destination."""
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    Inbox.objects.filter(saga=order).update(state="held", error="HTTP 503", destination=destination)
    return order


class TestDestinations:
    """A hold of the calls of payments.charge to one gateway."""

    def test_an_approver_holds_and_releases_the_calls_to_one_gateway(self, approver, anna):
        response = approver.post(STEP, DRAFT, follow=True)
        assert "payments.charge to stripe" in response.content.decode()
        run = Run.objects.get()
        assert (run.step, run.destination) == CALLS
        assert confirmed_by(anna, run) == (
            "done",
            "Calls of payments.charge to stripe are on hold. Calls that run now finish first.",
        )
        for hold in (PaymentsHold.objects.get(), OrdersHold.objects.get()):
            assert (hold.step, hold.calling_step, hold.destination) == (None, *CALLS)

        run = runs.draft_for_step("release_step", "payments.charge", by=anna, destination="stripe")
        assert confirmed_by(anna, run) == (
            "done",
            "Calls of payments.charge to stripe are released; held messages being sent on: 0.",
        )
        assert not PaymentsHold.objects.exists()
        assert not OrdersHold.objects.exists()
        entries = LogEntry.objects.filter(what="acted").values_list("step", "subject")
        assert set(entries) == {("payments.charge", "calls to stripe")}

    def test_a_release_of_the_whole_step_finds_nothing(self, anna):
        automatic_holds.place(get_service("payments"), CALLS, why="HTTP 503")
        run = runs.draft_for_step("release_step", "payments.charge", by=anna)
        assert runs.preview(run).changes == 0

    @pytest.mark.parametrize("page", [PAGE, "/admin/"])
    def test_the_pages_name_the_gateway_and_count_its_orders_only(self, operator, page):
        walked.open_shop()
        held_here()
        held_here("other")
        automatic_holds.place(get_service("payments"), CALLS, why="HTTP 503")
        assert "payments.charge to stripe" in operator.get(page).content.decode()
        [hold] = current_holds().steps
        assert (hold.scope, hold.waiting, hold.automatic) == (CALLS, 1, True)

    def test_the_page_of_an_order_names_the_hold_of_its_own_gateway_only(self, operator):
        walked.open_shop()
        waiting, other = held_here(), held_here("other")
        automatic_holds.place(get_service("payments"), CALLS, why="HTTP 503")
        text = operator.get(f"/admin/orders/order/{waiting}/change/").content.decode()
        assert "This order waits because calls of payments.charge to stripe are on hold" in text
        text = operator.get(f"/admin/orders/order/{other}/change/").content.decode()
        assert "waits because" not in text
        assert set(failing_steps([waiting, other])) == {waiting}

    def test_orders_that_fail_at_another_gateway_are_shown_beside_the_hold(self, operator):
        automatic_holds.place(get_service("payments"), CALLS, why="HTTP 503")
        for destination in ("stripe", "other"):
            PaymentsFault.objects.create(
                id=uuid7(),
                step="payments.charge",
                destination=destination,
                pattern=UUID(int=1),
                saga=uuid7(),
                blame="provider",
                error="HTTP 503",
                shared=True,
            )
        assert [each.scope for each in current_holds().failing] == [("payments.charge", "other")]


class TestNames:
    """The name of an outside system, as an operator types it or as a hold has it."""

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("x" * 151, "at most 150"),
            ("x" * 300, "at most 150"),
            (" stripe", "blank"),
            (" ", "blank"),
            ("a\x01b", "cannot be printed"),
            ("\u202e", "cannot be printed"),
        ],
    )
    def test_a_name_that_no_outside_system_has_is_refused_in_words(self, approver, name, reason):
        page = approver.post(STEP, {**DRAFT, "destination": name}, follow=True)
        assert page.status_code == 200
        assert reason in page.content.decode()
        assert not Run.objects.exists()

    def test_the_longest_name_is_held_logged_and_released(self, approver, anna):
        name = "x" * 150
        approver.post(STEP, {**DRAFT, "destination": name})
        run = Run.objects.get()
        seen = {"reason": "It moves.", "seen": runs.preview(run).fingerprint}
        assert approver.post(reverse("console:confirm", args=[run.id]), seen).status_code == 302
        work()
        assert outcomes(run)[0][0] == "done"
        assert PaymentsHold.objects.get().destination == name
        approver.post(STEP, {**RELEASE, "destination": name})
        assert confirmed_by(anna, Run.objects.get(action="release_step"))[0] == "done"

    @pytest.mark.parametrize("name", ["x" * 300, "shop one ", "shop\ttwo"])
    def test_every_hold_on_the_page_is_released_by_its_stored_name(self, approver, anna, name):
        scope = HoldScope("payments.charge", name)
        automatic_holds.place(get_service("payments"), scope, why="HTTP 503")
        approver.post(STEP, {**RELEASE, "destination": name})
        assert confirmed_by(anna, Run.objects.get())[0] == "done"
        assert not PaymentsHold.objects.exists()
        assert LogEntry.objects.filter(subject__startswith="calls to ").exists()

    def test_a_hold_of_a_name_that_no_call_has_had_is_possible_and_the_preview_says_so(
        self, approver, anna
    ):
        warning = "no call of this step to it is known"
        page = approver.post(STEP, {**DRAFT, "destination": "Stripe"}, follow=True)
        assert warning in page.content.decode()
        assert confirmed_by(anna, Run.objects.get())[0] == "done"
        walked.open_shop()
        held_here()
        page = approver.post(STEP, DRAFT, follow=True)
        assert warning not in page.content.decode()

    def test_a_refused_attempt_is_logged_with_the_outside_system(self, client):
        client.force_login(member("vera", "viewer"))
        assert client.post(STEP, DRAFT).status_code == 403
        entry = LogEntry.objects.get(what="refused")
        assert (entry.step, entry.subject) == ("payments.charge", "calls to stripe")
        assert client.post(STEP, {**DRAFT, "destination": "x" * 300}).status_code == 403


class TestSteps:
    """Steps whose calls go to no outside system that has a name."""

    @pytest.mark.parametrize("step", ["inventory.reserve", "orders.fulfil"])
    def test_a_local_step_is_refused_before_a_run_is_made(self, approver, anna, step):
        page = approver.post(STEP, {**DRAFT, "step": step}, follow=True)
        assert f"{step} calls no outside system" in page.content.decode()
        with pytest.raises(ActionRejected, match="no outside system"):
            runs.draft_for_step("hold_step", step, by=anna, destination="stripe")
        with pytest.raises(ValueError, match="no outside system"):
            control.hold_step(step, destination="stripe", by="anna", why="It moves.")
        assert not Run.objects.exists()
        assert not InventoryHold.objects.exists()
