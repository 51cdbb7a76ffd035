"""A step is marked as done by hand once, with evidence, and with approval for large refunds."""

import pytest

from audit.run import audit
from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed, StalePreview
from inventory.models import Reservation
from orders.models import Order
from payments.models import Inbox, Payment, SimulatedCharge
from sagas.operations import holds
from sagas.storage.registry import get_service
from staff.models import LogEntry
from tests.integration.audit import harness as walked
from tests.integration.console.operators import member, outcomes, paid, stuck, work

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]

REFUND = "payments.refund"


def to_be_refunded():
    """Return an order that is being cancelled: its refund is on hold, and was made on the
    gateway's own page.
    """
    order = paid()
    holds.hold(get_service("payments"), step=REFUND, by="anna", why="The gateway refuses refunds.")
    walked.cancel(order.id)
    for step in ("inventory.release", REFUND):
        walked.deliver(step, order.id)
    charge = SimulatedCharge.objects.get(order_id=order.id)
    SimulatedCharge.objects.create(
        kind="refund",
        key="by hand",
        order_id=order.id,
        charge_id=charge.charge_id,
        amount=charge.amount,
        currency=charge.currency,
    )
    return order


def marked(order, step, *, by, reference=""):
    run = runs.draft("by_hand", [order.id], by=by, step=step)
    seen = runs.preview(run).fingerprint
    return runs.confirm(run.id, by=by, reason="I saw it.", fingerprint=seen, reference=reference)


def test_from_the_orders_page_to_its_end_with_the_evidence_shown(operator):
    order = to_be_refunded()
    page = f"/admin/orders/order/{order.id}/"
    assert operator.get(f"{page}change/").context["markable"] == [REFUND]
    shown = operator.post(f"{page}by-hand/", {"step": REFUND}, follow=True)
    assert shown.context["impact"].refunds == {"eur": 2500}
    assert "Gateway&#x27;s id of the refund" in shown.content.decode()
    given = {
        "reason": "I saw it.",
        "reference": "re_1",
        "seen": shown.context["impact"].fingerprint,
    }
    operator.post(f"/admin/console/run/{shown.context['run'].id}/confirm/", given)
    work()
    walked.run_to_end(order.id)
    assert Order.objects.get().status == "cancelled"
    assert audit(expect_ended=True).violations == 0
    assert (
        "was marked as done by hand by olga: I saw it. (re_1)"
        in operator.get(f"{page}change/").content.decode()
    )
    assert LogEntry.objects.filter(what="acted").values_list(
        "who", "step", "why", "outcome"
    ).get() == (
        "olga",
        REFUND,
        "I saw it.",
        "payments.refund is marked as done by hand; the saga goes on.",
    )


def test_a_refund_without_its_id_is_not_confirmed(olga):
    order = to_be_refunded()
    with pytest.raises(NotAllowed, match="Give the gateway's id of the refund"):
        marked(order, REFUND, by=olga)
    with pytest.raises(NotAllowed, match="at most 255 characters"):
        marked(order, REFUND, by=olga, reference="x" * 256)
    assert Payment.objects.get().status == "captured"


def test_a_large_refund_by_hand_takes_a_second_person(olga, anna, settings):
    settings.CONSOLE_REFUND_LIMIT = 2_000
    run = marked(to_be_refunded(), REFUND, by=olga, reference="re_1")
    work()
    assert (run.state, Payment.objects.get().status) == ("awaiting", "captured")
    runs.approve(run.id, by=anna, fingerprint=runs.preview(run).fingerprint)
    work()
    assert Payment.objects.get().status == "refunded"


def test_a_step_marked_by_two_people_is_done_once_and_the_second_run_says_so(olga):
    order, oscar = to_be_refunded(), member("oscar", "operator")
    first, second = (
        marked(order, REFUND, by=by, reference=ref) for by, ref in ((olga, "re_1"), (oscar, "re_2"))
    )
    work()
    assert [state for run in (first, second) for state, _ in outcomes(run)] == ["done", "nothing"]
    assert "is already done" in outcomes(second)[0][1]
    assert Payment.objects.get().refund_reference == "re_1"


def test_a_worker_that_died_after_it_had_marked_the_step_does_not_make_it_look_undone(olga):
    order = to_be_refunded()
    run = marked(order, REFUND, by=olga, reference="re_1")
    work()
    run.items.update(state="pending", outcome="", due_at="2026-01-01T00:00:00Z")
    work()
    assert outcomes(run) == [
        ("done", "payments.refund is marked as done by hand; the saga goes on.")
    ]


def test_a_mark_whose_preview_has_changed_is_not_confirmed(olga):
    order = to_be_refunded()
    run = runs.draft("by_hand", [order.id], by=olga, step=REFUND)
    seen = runs.preview(run).fingerprint
    Payment.objects.update(captured_amount=9_000)
    with pytest.raises(StalePreview):
        runs.confirm(run.id, by=olga, reason="I saw it.", fingerprint=seen, reference="re_1")


def test_pieces_that_were_sent_by_hand_are_shown_and_counted(olga):
    order = paid()
    for step in ("inventory.reserve", "orders.fulfil"):
        walked.deliver(step, order.id)
    holds.hold(
        get_service("inventory"), step="inventory.ship", by="anna", why="The belt is broken."
    )
    walked.deliver("inventory.ship", order.id)
    run = runs.draft("by_hand", [order.id], by=olga, step="inventory.ship")
    assert runs.preview(run).units == 2
    runs.confirm(
        run.id, by=olga, reason="Carried by hand.", fingerprint=runs.preview(run).fingerprint
    )
    work()
    assert Reservation.objects.get().state == "shipped"


def test_a_charge_is_not_offered_and_not_taken(operator):
    order = stuck()
    page = f"/admin/orders/order/{order.id}/"
    assert operator.get(f"{page}change/").context["markable"] == []
    answer = operator.post(f"{page}by-hand/", {"step": "payments.charge"}, follow=True)
    assert "cannot be marked as done by hand" in answer.content.decode()
    assert Inbox.objects.get().state == "waiting"


@pytest.mark.parametrize("group", ["viewer", "approver"])
def test_only_an_operator_can_mark_a_step(client, group):
    client.force_login(member("vera", group))
    assert (
        client.post(f"/admin/orders/order/{stuck().id}/by-hand/", {"step": REFUND}).status_code
        == 403
    )
