"""Each event of Stripe takes effect once, and unsigned requests are refused."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
import stripe
from django.core.cache import cache
from django.db import DatabaseError, connections
from django.test import Client
from pytest_django import Settings

from api.auth import throttling
from api.requests.parsing import MAX_BODY
from orders.saga import PLACE_ORDER
from payments import webhooks
from payments.followup import follow_up_once
from payments.gateways import get_gateway
from payments.models import Inbox, Payment, WebhookEvent
from payments.tasks import purge_webhook_events
from sagas.definition.messages import Message
from sagas.execution import runner
from sagas.ids import uuid7
from tests.integration.payments.harness import Order, order, payment, prepare, run
from tests.integration.payments.stripe_harness import moved_money
from tests.integration.races import at_once
from tests.processes import url
from tests.sandbox.process import SECRET, Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

PATH = "/api/v1/payments/webhooks/stripe/"
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _signed(settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRET = SECRET


def event(
    kind: str = "payment_intent.succeeded", *, order_id: UUID | None = None, **fields: Any
) -> dict[str, Any]:
    default = {
        "id": f"pi_{uuid7().hex}",
        "object": "payment_intent",
        "metadata": {"order_id": str(order_id)} if order_id else {},
    }
    return {
        "id": f"evt_{uuid7().hex}",
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "data": {"object": default | fields.pop("resource", {})},
        **fields,
    }


def deliver(sent: Any, *, secret: str = SECRET, shift: int = 0, header: str | None = None) -> Any:
    body = sent if isinstance(sent, str) else json.dumps(sent)
    signed = stripe.WebhookSignature.generate_signature_header(
        body, secret, int(time.time()) + shift
    )
    headers = {"Stripe-Signature": signed if header is None else header}
    return Client().post(PATH, body, content_type="application/json", headers=headers)


def waiting(paid: Order) -> Inbox:
    """Run the charge of an order that then waits for the customer; return its inbox row."""
    message = Message(
        id=uuid7(),
        saga=paid.saga,
        started_at=datetime.now(UTC),
        seq=0,
        context={"amount": 1250, "currency": "eur", "payment_method": paid.context.payment_method},
    )
    runner.run("payments.charge", PLACE_ORDER.plan, [message])
    return Inbox.objects.get(saga=paid.saga, step="payments.charge")


def is_due(row: Inbox) -> bool:
    with connections["payments"].cursor() as cursor:
        cursor.execute(
            "SELECT due_at <= now() AND send_at <= now() FROM payments_inbox WHERE id = %s",
            [row.id],
        )
        return bool(cursor.fetchone()[0])


def test_an_event_wakes_the_waiting_step_but_does_not_change_the_payment(sandbox: Sandbox) -> None:
    paid = order("pm_card_authenticationRequired")
    row = waiting(paid)
    Inbox.objects.filter(id=row.id).update(due_at=LATER, send_at=LATER)
    assert deliver(event(order_id=paid.saga)).status_code == 200
    assert is_due(row)
    assert WebhookEvent.objects.get().effect == "woke"
    assert payment(paid).status == "pending"


def test_a_repeated_event_has_no_second_effect(sandbox: Sandbox) -> None:
    paid = order("pm_card_authenticationRequired")
    row, sent = waiting(paid), event(order_id=paid.saga)
    assert deliver(sent).status_code == 200
    Inbox.objects.filter(id=row.id).update(due_at=LATER, send_at=LATER)
    for _ in range(2):
        assert deliver(sent).status_code == 200
    assert not is_due(row)
    assert WebhookEvent.objects.count() == 1


def test_concurrent_deliveries_of_an_event_are_received_once() -> None:
    sent = webhooks.verify(*_signed_body(event()))
    effects = at_once([partial(webhooks.receive, sent)] * 8)
    assert sorted(map(str, effects)) == ["None"] * 7 + ["unknown"]


def test_an_event_commits_with_its_effect_or_not_at_all(sandbox: Sandbox) -> None:
    paid = order("pm_card_authenticationRequired")
    row = waiting(paid)
    with connections["payments"].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger"
            " LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON payments_inbox"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    try:
        with pytest.raises(DatabaseError, match="no"):
            webhooks.receive(webhooks.verify(*_signed_body(event(order_id=paid.saga))))
    finally:
        with connections["payments"].cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse ON payments_inbox; DROP FUNCTION refuse()")
    assert not WebhookEvent.objects.exists()
    assert Inbox.objects.get(id=row.id).state == "waiting"


def test_an_event_of_an_unknown_order_is_shown_in_the_admin(
    admin_client: Client,
) -> None:
    unknown_order = uuid7()
    assert deliver(event(order_id=unknown_order)).status_code == 200
    assert deliver(event("charge.succeeded", resource={"id": "ch_unknown"})).status_code == 200
    assert list(WebhookEvent.objects.order_by("received_at").values_list("effect", "order_id")) == [
        ("unknown", unknown_order),
        ("unknown", None),
    ]
    page = admin_client.get(
        "/admin/payments/webhookevent/", {"effect__exact": "unknown"}
    ).content.decode()
    assert str(unknown_order) in page
    assert "ch_unknown" in page


def test_an_event_without_an_order_id_is_matched_by_its_charge(
    sandbox: Sandbox,
) -> None:
    paid = order()
    run("payments.charge", paid)
    charge = payment(paid).charge_id
    for resource in (
        {"id": charge},
        {"id": "re_1", "charge": charge},
        {"id": "re_2", "charge": {"id": charge}},
    ):
        assert deliver(event("charge.updated", resource=resource)).status_code == 200
    assert set(WebhookEvent.objects.values_list("order_id", "effect")) == {(paid.saga, "noted")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_of_a_forger"},
        {"shift": -400},
        {"shift": 400},
        {"header": ""},
        {"header": "t=,v1="},
        {"header": "v1=0"},
        {"header": "t=1"},
        {"header": "t=1,v1=ü"},
        {"header": f"t={'9' * 5000},v1=0"},
        {"header": "t=1=2=3,v1"},
    ],
)
def test_a_request_without_a_recent_signature_is_refused(wrong: dict[str, Any]) -> None:
    _refused(deliver(event(), **wrong))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        "not JSON",
        "[" * 100_000,
        json.dumps(event(id="")),
        json.dumps(event(id="evt\0")),
        json.dumps(event(id="e" * 256)),
        json.dumps(event(id=5)),
        json.dumps(event(created=-1)),
        json.dumps(event(created=10**18)),
        json.dumps(event("a\nb")),
        json.dumps(event(data=[])),
        json.dumps(event(data={"object": "pi"})),
    ],
)
def test_a_signed_request_without_an_event_is_refused(body: str) -> None:
    _refused(deliver(body))


@pytest.mark.parametrize(
    "resource",
    [
        {"metadata": None},
        {"metadata": {"order_id": "not an order"}},
        {"metadata": {"order_id": 5}},
        {"metadata": []},
        {"id": "pi_\0"},
        {"id": ["pi"]},
        {"id": "p" * 1000},
        {"charge": {"id": None}},
        {"charge": {"id": "ch\0"}},
    ],
)
def test_an_event_with_an_invalid_object_is_stored_as_unknown(resource: dict[str, Any]) -> None:
    assert deliver(event(resource=resource)).status_code == 200
    assert WebhookEvent.objects.get().effect == "unknown"


@pytest.mark.parametrize("kind", ["balance.available", "charge.succeeded"])
def test_an_event_without_any_id_concerns_no_order(sandbox: Sandbox, kind: str) -> None:
    """A payment without a charge has no charge id either."""
    paid = order("pm_card_authenticationRequired")
    row = waiting(paid)
    assert deliver(event(kind, resource={"id": None})).status_code == 200
    stored = WebhookEvent.objects.get()
    assert (stored.effect, stored.order_id) == ("unknown", None)
    assert not is_due(row)


def test_an_event_is_received_once_although_there_was_nothing_to_do_at_first(
    sandbox: Sandbox,
) -> None:
    paid = order("pm_card_authenticationRequired")
    sent = event(order_id=paid.saga)
    assert deliver(sent).status_code == 200
    row = waiting(paid)
    Inbox.objects.filter(id=row.id).update(due_at=LATER, send_at=LATER)
    assert deliver(sent).status_code == 200
    assert not is_due(row)
    assert WebhookEvent.objects.get().effect == "unknown"


@pytest.mark.parametrize("secret", ["", " "])
def test_without_a_secret_every_event_is_refused(settings: Settings, secret: str) -> None:
    settings.STRIPE_WEBHOOK_SECRET = secret
    _refused(deliver(event(), secret=secret))


def test_a_changed_body_is_refused() -> None:
    body, signature = _signed_body(event())
    answer = Client().post(
        PATH,
        body.replace(b"succeeded", b"canceled "),
        content_type="application/json",
        headers={"Stripe-Signature": signature},
    )
    _refused(answer)


def test_a_locked_database_answers_503() -> None:
    with psycopg.connect(url("payments")) as other:
        other.execute("LOCK TABLE payments_webhookevent")
        answer = deliver(event())
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert not WebhookEvent.objects.exists()


def test_a_stored_event_has_ids_only() -> None:
    assert (
        deliver(
            event(resource={"client_secret": "pi_secret", "billing_details": {"name": "Ada"}})
        ).status_code
        == 200
    )
    with connections["payments"].cursor() as cursor:
        cursor.execute("SELECT to_jsonb(e)::text FROM payments_webhookevent e")
        (row,) = cursor.fetchone()
    assert "secret" not in row
    assert "Ada" not in row


def test_a_charge_after_the_cancel_is_refunded(sandbox: Sandbox) -> None:
    cancelled = order()
    (attempt,) = prepare("payments.charge", cancelled)
    get_gateway().charge([attempt.charge])
    # The rows say that the charge was barred, as after a restore from an older backup.
    Payment.objects.update(status="void")
    assert moved_money(sandbox, cancelled) == {"capture": 1250}
    assert deliver(event(order_id=cancelled.saga)).status_code == 200
    assert WebhookEvent.objects.get().effect == "followed"
    assert follow_up_once() == 1
    assert moved_money(sandbox, cancelled) == {"capture": 1250, "refund": 1250}
    refunded = payment(cancelled)
    assert (refunded.status, refunded.refunded_amount, refunded.follow_at) == (
        "refunded",
        1250,
        None,
    )
    assert follow_up_once() == 0


def test_a_false_event_changes_nothing(sandbox: Sandbox) -> None:
    cancelled = order()
    run("payments.refund", cancelled)
    deliver(event(order_id=cancelled.saga))
    assert follow_up_once() == 1
    assert (payment(cancelled).status, payment(cancelled).follow_at) == ("void", None)
    assert not moved_money(sandbox, cancelled)


def test_events_are_purged_after_stripe_stops_repeating_them(
    settings: Settings,
) -> None:
    settings.SAGA_RETENTION_DAYS = 1
    for days in (0, 6, 8):
        sent = event()
        deliver(sent)
        WebhookEvent.objects.filter(id=sent["id"]).update(
            received_at=datetime.now(UTC) - timedelta(days=days)
        )
    assert purge_webhook_events() == 1
    assert WebhookEvent.objects.count() == 2


def _refused(answer: Any) -> None:
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert not WebhookEvent.objects.exists()


def _signed_body(sent: dict[str, Any]) -> tuple[bytes, str]:
    body = json.dumps(sent)
    return body.encode(), stripe.WebhookSignature.generate_signature_header(body, SECRET)


def test_a_burst_of_signed_events_from_one_address_is_taken(settings: Settings) -> None:
    cache.clear()
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "write": 120, "stranger": 60}
    statuses = Counter(deliver(event()).status_code for _ in range(150))
    assert statuses == {200: 150}
    assert WebhookEvent.objects.count() == 150


@pytest.mark.parametrize("header", [None, "", "t=1,v1=x", "v1=," * 2_000])
def test_unsigned_requests_are_counted_and_hinder_no_signed_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    cache.clear()
    monkeypatch.setattr(throttling, "WINDOW", 1_000_000)
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "stranger": 3}
    forged = [deliver(event(), secret="whsec_other", header=header).status_code for _ in range(5)]
    assert forged == [400, 400, 400, 429, 429]
    assert deliver(event()).status_code == 200


def test_a_body_above_the_limit_is_not_verified() -> None:
    answer = deliver(event(padding="x" * MAX_BODY))
    assert (answer.status_code, answer.json()["type"]) == (413, "/errors/body-too-large")
    assert deliver(event(padding="x" * (MAX_BODY - 1_000))).status_code == 200
    assert WebhookEvent.objects.count() == 1
