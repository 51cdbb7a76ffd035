"""A saga as a picture: what each step looks like, and which ways were gone."""

from datetime import UTC, datetime

import pytest

from console.order_page.diagram import StepRow, StepStatus, build_diagram
from console.order_page.event_words import event_words, gave_nothing_back
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER

PLAN = PLACE_ORDER.plan
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(step, state="done", attempts=1):
    return StepRow(
        step=step,
        state=state,
        attempts=attempts,
        error="",
        send_at=None,
        created_at=NOON,
        updated_at=NOON,
    )


def looks(*rows, ended=False):
    return {box.name: box.status for box in build_diagram(PLAN, rows, ended=ended).boxes}


def test_every_step_of_the_plan_has_its_place_and_none_lies_on_another():
    picture = build_diagram(PLAN, [], ended=False)
    assert {box.name for box in picture.boxes} == set(PLAN.names())
    assert len({(box.x, box.y) for box in picture.boxes}) == len(picture.boxes)
    assert all(
        box.x + box.width <= picture.width and box.y + box.height <= picture.height
        for box in picture.boxes
    )


def test_an_undo_stands_below_its_action():
    places = {box.name: box for box in build_diagram(PLAN, [], ended=False).boxes}
    for step in PLAN.steps:
        if step.undo:
            assert places[step.undo].x == places[step.name].x
            assert places[step.undo].y > places[step.name].y


def test_a_step_without_a_row_is_ahead_until_the_saga_has_ended():
    assert looks()["inventory.ship"] is StepStatus.AHEAD
    assert looks(ended=True)["inventory.ship"] is StepStatus.UNNEEDED


def test_after_the_pivot_no_undo_lies_ahead():
    assert looks(row("orders.fulfil"))["payments.refund"] is StepStatus.UNNEEDED
    assert looks(row("orders.fulfil", "waiting"))["payments.refund"] is StepStatus.AHEAD


@pytest.mark.parametrize(
    ("state", "attempts", "look"),
    [
        ("done", 1, StepStatus.DONE),
        ("started", 1, StepStatus.RUNNING),
        ("waiting", 2, StepStatus.WAITING),
        ("refused", 1, StepStatus.REFUSED),
        ("refused", 0, StepStatus.BARRED),
    ],
)
def test_a_step_looks_as_its_row_says(state, attempts, look):
    assert looks(row("payments.charge", state, attempts))["payments.charge"] is look


def test_an_action_whose_undo_is_done_is_undone():
    found = looks(row("payments.charge"), row("payments.refund"))
    assert (found["payments.charge"], found["payments.refund"]) == (
        StepStatus.UNDONE,
        StepStatus.DONE,
    )


def test_an_action_that_was_never_done_is_not_undone_by_its_undo():
    found = looks(row("payments.charge", "refused", 0), row("payments.refund"))
    assert found["payments.charge"] is StepStatus.BARRED


def test_only_the_ways_that_were_gone_are_drawn_as_gone():
    picture = build_diagram(
        PLAN, [row("payments.charge"), row("inventory.reserve", "refused")], ended=False
    )
    places = {(box.x + box.width, box.centre_y): box.name for box in picture.boxes}
    gone = {places[arrow.x1, arrow.y1] for arrow in picture.arrows if arrow.walked}
    assert gone == {"payments.charge"}


def test_the_step_that_bars_a_pivot_stands_below_it_and_undoes_nothing():
    rows = [row("payments.capture"), row("payments.withhold")]
    boxes = {box.name: box for box in build_diagram(AUTHORIZE_FIRST.plan, rows, ended=False).boxes}
    assert set(boxes) == set(AUTHORIZE_FIRST.plan.names())
    assert boxes["payments.withhold"].x == boxes["payments.capture"].x
    assert boxes["payments.capture"].status is StepStatus.DONE
    assert boxes["payments.void"].status is StepStatus.UNNEEDED


def test_an_undo_that_had_nothing_to_undo_is_not_drawn_as_moved_money():
    rows = [row("payments.charge", "refused"), row("payments.refund"), row("orders.cancel")]
    picture = build_diagram(PLAN, rows, ended=True, gave_nothing_back={"payments.refund"})
    boxes = {box.name: box.status for box in picture.boxes}
    assert boxes["payments.refund"] is StepStatus.NOTHING
    assert boxes["payments.refund"].label == "nothing to give back"
    assert boxes["payments.charge"] is StepStatus.REFUSED
    places = {(box.x, box.centre_y): box.name for box in picture.boxes}
    walked = {places.get((arrow.x1, arrow.y1)) for arrow in picture.arrows if arrow.walked}
    assert "payments.refund" in walked


@pytest.mark.parametrize("ended", [True, False])
def test_the_steps_of_a_service_that_does_not_answer_are_unknown(ended):
    picture = build_diagram(PLAN, [], ended=ended, unreachable={"payments"})
    boxes = {box.name: box.status for box in picture.boxes}
    assert boxes["payments.charge"] is boxes["payments.refund"] is StepStatus.UNKNOWN
    assert boxes["inventory.reserve"] is (StepStatus.UNNEEDED if ended else StepStatus.AHEAD)


@pytest.mark.parametrize(
    ("type_", "detail", "expected"),
    [
        ("payment.barred", {}, True),
        ("stock.barred", {}, True),
        ("payment.refunded", {"amount": 0}, True),
        ("payment.refunded", {"amount": 0, "disputed": 500}, False),
        ("payment.refunded", {"amount": 1250}, False),
        ("stock.released", {"pieces": 0}, True),
        ("stock.released", {"pieces": 2}, False),
        ("payment.voided", {"amount": 0}, False),
    ],
)
def test_only_an_undo_that_moved_nothing_gave_nothing_back(type_, detail, expected):
    assert gave_nothing_back(type_, detail) is expected
    assert (event_words(type_, detail) == "nothing to give back") is expected


def test_a_payment_of_another_amount_is_told_from_a_declined_card():
    assert "another amount" in event_words("payment.failed", {"code": "payment_amount_differs"})
    assert event_words("payment.failed", {"code": "payment_declined"}) == ""
