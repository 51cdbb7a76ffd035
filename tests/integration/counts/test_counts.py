"""The costs of a saga as counts: the statements of each step, and the messages of a whole saga.

A batch of a hundred orders costs as many statements as one order. A commit that changes a number
here says why.
"""

from datetime import UTC, datetime

import pytest

from payments import webhooks
from payments.models import Inbox, Payment, WebhookEvent
from sagas import lifecycle, sql
from sagas.delivery import admission
from sagas.ids import uuid7
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.broker import empty, take
from tests.integration.counts.order_steps import (
    open_shop,
    place,
    places,
    run,
    send,
    statements,
    to_step,
    walk,
)

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

LATER = datetime(2999, 1, 1, tzinfo=UTC)

# Round trips to databases, BEGIN and COMMIT included, for one order as for a hundred.
STATEMENTS = {
    "payments.charge": 15,
    "inventory.reserve": 8,
    "orders.fulfil": 13,
    "inventory.ship": 7,
}
STATEMENTS_BACK = {"payments.refund": 20, "orders.cancel": 15}
STATEMENTS_TO_PLACE = 4

# Three statements claim, store the message, and write the event. The claim of an external step has
# stored the message already.
STATEMENTS_HELD = {"payments.charge": 4, "inventory.reserve": 5}

# One statement stores an event of the provider that changes nothing, or ignores a repeated one. All
# other events need a transaction.
STATEMENTS_OF_EVENT = {"noted": 1, "unknown": 1, None: 1, "followed": 9, "woke": 10}

MESSAGES = {"sagas.run_step": 4, "sagas.record": 2}


@pytest.fixture(autouse=True)
def shop(monkeypatch, steps_of_the_shop):
    monkeypatch.setattr(lifecycle, "request_flush", lambda service: None)
    empty()
    return open_shop()


@pytest.mark.parametrize("orders", [1, 100])
@pytest.mark.parametrize("step", STATEMENTS)
def test_a_step_costs_as_many_statements_for_any_batch(step, orders):
    places(orders)
    assert count(step) == STATEMENTS[step]


@pytest.mark.parametrize("orders", [1, 100])
@pytest.mark.parametrize("step", STATEMENTS_BACK)
def test_an_undo_costs_as_many_statements_for_any_batch(step, orders):
    places(orders, "RARE")
    assert count(step) == STATEMENTS_BACK[step]


@pytest.mark.parametrize("orders", [1, 100])
@pytest.mark.parametrize("step", STATEMENTS)
def test_looking_for_holds_costs_no_statement_even_if_there_are_holds(step, orders):
    for service in ("orders", "payments", "inventory"):
        holds.hold(
            get_service(service), step="payments.refund", by="anna", why="Refunds are refused."
        )
        holds.hold(get_service(service), saga=uuid7(), by="olga", why="The address is odd.")
    places(orders)

    assert count(step) == STATEMENTS[step]


@pytest.mark.parametrize("orders", [1, 100])
@pytest.mark.parametrize("step", STATEMENTS_HELD)
def test_holding_costs_as_many_statements_for_any_batch(step, orders):
    places(orders)
    send()
    message = to_step(step)
    holds.hold(
        get_service(step.partition(".")[0]), step=step, by="anna", why="The gateway refuses cards."
    )
    with statements() as done:
        run(message)

    assert len(done) == STATEMENTS_HELD[step]


def count(step):
    send()
    message = to_step(step)
    with statements() as done:
        run(message)
    return len(done)


def test_an_order_is_placed_in_as_many_statements(shop):
    places(1)
    with statements() as done:
        place(shop)

    assert len(done) == STATEMENTS_TO_PLACE


def test_each_step_flushes_its_service_and_the_last_one_the_sender_too(settings, monkeypatch):
    settings.OUTBOX_BATCH_SIZE = 2
    monkeypatch.setattr(admission, "CONGESTED", 2)
    places(10)
    send()

    assert [sent.flushed for sent in take("payments")] == [["payments"], ["payments", "orders"]]


@pytest.mark.parametrize("effect", STATEMENTS_OF_EVENT)
def test_an_event_of_the_provider_costs_as_many_statements(effect):
    places(1)
    send()
    run(to_step("payments.charge"))
    paid = Payment.objects.get()
    if effect == "woke":
        Inbox.objects.update(state="waiting", due_at=LATER, send_at=LATER)
    about = uuid7() if effect == "unknown" else paid.order_id
    event = event_of(about, "charge.refunded" if effect == "followed" else "charge.succeeded")
    if effect is None:
        webhooks.receive(event)
    with statements() as done:
        assert webhooks.receive(event) == effect

    assert len(done) == STATEMENTS_OF_EVENT[effect]
    assert WebhookEvent.objects.count() == 1


def event_of(order, kind):
    about = webhooks.EventObject(id="ch_1", metadata={"order_id": str(order)})
    return webhooks.StripeEvent(
        id="evt_1",
        type=kind,
        created=1_772_357_400,
        data=webhooks.EventData(object=about),
    )


@pytest.mark.parametrize("orders", [1, 100])
def test_a_saga_sends_as_many_messages_for_any_batch(orders):
    places(orders)
    send()

    assert walk() == MESSAGES


def test_repeated_statements_of_a_step_are_planned_once():
    places(3)
    send()
    message = to_step("payments.charge")
    prepared = (
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%payments_inbox%%'"
    )
    for _ in range(3):
        run(message)

    assert sql.fetch("payments", prepared, {}) > [(0,)]
