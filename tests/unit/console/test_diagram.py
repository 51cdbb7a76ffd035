"""A saga as a picture: what each step looks like, and which ways were gone."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.template.loader import render_to_string

from console.order_page.diagram import StepRow, StepStatus, build_diagram
from console.order_page.event_words import event_words, gave_nothing_back
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from sagas.definition.plan import Step
from tests.shop import of_shop

PLAN = of_shop(PLACE_ORDER.plan)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# Width of an average character of 12 px, in px.
FINE_CHARACTER = 6.5


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
    for step in PLAN.actions:
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


def test_each_line_of_text_fits_into_its_box():
    tried = row("payments.charge", "waiting", attempts=12)
    picture = build_diagram(PLAN, [replace(tried, updated_at=NOON + DAY)], ended=False)
    svg = render_to_string("console/diagram.svg.html", {"diagram": picture})
    lines = re.findall(r'<text x="(\d+)" y="(\d+)" class="fine">([^<]*)<', svg)
    assert [text for *_, text in lines] == ["12:00:00 UTC · 24.0 h", "12 attempts"]
    for x, y, text in lines:
        assert int(x) + len(text) * FINE_CHARACTER < picture.boxes[0].width
        assert int(y) < picture.boxes[0].height


def test_the_saga_goes_on_behind_a_step_that_was_skipped():
    steps = [
        msgspec.structs.replace(step, optional=step.name == "inventory.ship")
        for step in PLAN.actions
    ]
    plan = msgspec.structs.replace(PLAN, steps=(*steps, Step("orders.thank")))
    rows = [row("orders.fulfil"), row("inventory.ship", "refused"), row("orders.thank")]
    picture = build_diagram(plan, rows, ended=False)

    shipped = next(box for box in picture.boxes if box.name == "inventory.ship")
    assert (shipped.status, shipped.status.symbol) == (StepStatus.SKIPPED, "»")
    assert [arrow.walked for arrow in picture.arrows if arrow.x1 == shipped.x + shipped.width] == [
        True
    ]


def test_the_branches_of_a_group_have_one_frame_and_no_arrow_between_them():
    first, second, *others = PLAN.actions
    plan = msgspec.structs.replace(PLAN, steps=((first, second), *others))
    done = [row(first.name), row(second.name, "started")]
    picture = build_diagram(plan, done, ended=False)

    [frame] = picture.frames
    inside = [box for box in picture.boxes if frame.x < box.x < frame.x + frame.width]
    branches = [box for box in inside if box.parallel]
    assert [box.name for box in branches] == [first.name, second.name]
    starts = [arrow.x1 for arrow in picture.arrows if arrow.y1 == arrow.y2 == branches[0].centre_y]
    assert branches[0].x + branches[0].width not in starts
    assert 'class="group"' in render_to_string("console/diagram.svg.html", {"diagram": picture})

    def onward(second_state):
        rows = [row(first.name), row(second.name, second_state), row(others[0].name)]
        return build_diagram(plan, rows, ended=False).arrows[0].walked

    assert (onward("started"), onward("done")) == (False, True)
