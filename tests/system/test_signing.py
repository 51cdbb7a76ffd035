"""A worker runs, forwards and calls back signed messages only."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
import redis
from celery import current_app
from django_celery_results.models import TaskResult

from console.failures.tracebacks import with_task_id
from orders.models import Outbox
from payments.models import Inbox, Payment
from sagas.ids import uuid7
from tests.broker import empty
from tests.plugin import running
from tests.processes import Process, beat, until, worker
from tests.system.harness import QUICK, SERVICES, assert_sound, ended, net, order, outcome, shop
from tests.trips.harness import begin, effects
from tests.trips.models import Trip

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]

KEY, OLD_KEY = "k" * 40, "o" * 40
SIGNED = {**QUICK, "SAGA_SIGNING_KEYS": KEY}

# From the log line of a worker that receives a message without a valid signature.
DISCARDED = "its signature is missing or wrong"


def encoded(body):
    """Return the body of a message as kombu writes it."""
    return b64encode(json.dumps(body).encode()).decode()


class Raw:
    """A message in the broker, which a test can alter."""

    def __init__(self, text):
        self.envelope = json.loads(text)
        self.headers = self.envelope["headers"]
        self.args, self.kwargs, self.embedded = json.loads(b64decode(self.envelope["body"]))

    def text(self):
        body = encoded([self.args, self.kwargs, self.embedded])
        return json.dumps({**self.envelope, "headers": self.headers, "body": body})


def unsigned(message):
    del message.headers["saga_signature"]


def signed_by_another(message):
    message.headers["saga_signature"] = "A" * 43


def amount(message):
    message.args[2][0]["context"]["amount"] = 1


def renamed(message):
    message.headers["task"] = "newer.task_of_a_stranger"


def task(message):
    message.headers["task"] = "sagas.flush"


def identity(message):
    message.headers["id"] = str(uuid7())


def retries(message):
    message.headers["retries"] = 25


def errback(message):
    message.embedded["errbacks"][0]["args"] = ["orders.cancel", {}, []]


def more_errbacks(message):
    message.embedded["errbacks"].append({**message.embedded["errbacks"][0], "task": "sagas.purge"})


def callback(message):
    message.embedded["callbacks"] = [message.embedded["chain"][0]]


def chain(message):
    message.embedded["chain"] = message.embedded["errbacks"]


def late(message):
    message.headers["expires"] = "2020-01-01T00:00:00+00:00"


def nonsense_eta(message):
    message.headers["eta"] = "9999-99-99"


def broken_arguments(message):
    message.args = ["payments.charge"]


def keywords(message):
    message.args, message.kwargs = (
        [],
        dict(zip(("step", "plan", "messages", "timeline_entries"), message.args, strict=True)),
    )


TAMPERED = [
    unsigned,
    signed_by_another,
    amount,
    task,
    identity,
    retries,
    errback,
    more_errbacks,
    callback,
    chain,
    late,
    nonsense_eta,
    broken_arguments,
    keywords,
]


@pytest.fixture
def key(settings):
    """Give this process a signing key."""
    settings.SAGA_SIGNING_KEYS = [KEY]


@pytest.fixture
def queues():
    with redis.Redis.from_url(running().valkey.url, decode_responses=True) as client:
        yield client


@pytest.mark.usefixtures("steps_of_the_shop")
def test_an_altered_message_is_discarded_and_no_part_of_it_is_forwarded(api_client, key, queues):
    placed = order(api_client, "signed")
    raw = until(lambda: queues.rpop("payments"), "the charge is in the broker")
    until(
        lambda: not Outbox.objects.filter(published_at=None).exists(),
        "all outbox rows are sent",
    )
    queues.delete(*SERVICES)
    for tamper in TAMPERED:
        message = Raw(raw)
        tamper(message)
        queues.lpush("payments", message.text())
    with worker("payments", environ=SIGNED) as process:
        until(
            lambda: process.output().count(DISCARDED) == len(TAMPERED),
            "all messages are discarded",
            process=process,
        )
        assert not Inbox.objects.exists()
        assert not Payment.objects.exists()
        assert not any(queues.llen(service) for service in SERVICES)
        assert "Task sagas" not in process.output()  # no message was received as a task
        queues.lpush("payments", raw)
        until(lambda: net(placed) == 1_000, "the original message is processed", process=process)


@pytest.mark.usefixtures("steps_of_the_shop")
def test_without_keys_a_key_that_follows_from_the_secret_key_signs(api_client, queues):
    placed = order(api_client, "signed")
    raw = until(lambda: queues.rpop("payments"), "the charge is in the broker")
    message = Raw(raw)
    unsigned(message)
    with worker("payments", environ=QUICK) as process:
        queues.lpush("payments", message.text())
        until(lambda: DISCARDED in process.output(), "it is discarded", process=process)
        assert not Inbox.objects.exists()
        queues.lpush("payments", raw)
        until(lambda: net(placed) == 1_000, "the original message is processed", process=process)


@pytest.mark.usefixtures("steps_of_the_shop")
@pytest.mark.faults
def test_an_order_whose_messages_the_release_before_sent_is_sent_again_with_a_signature(
    api_client, queues
):
    placed = order(api_client, "unsigned")
    raw = until(lambda: queues.rpop("payments"), "the charge is in the broker")
    message = Raw(raw)
    unsigned(message)
    queues.lpush("payments", message.text())
    with worker(*SERVICES, environ=QUICK) as process, beat(environ=QUICK):
        until(lambda: ended(placed), "the order has ended", process=process)
        assert DISCARDED in process.output()
    assert outcome(placed) == ("fulfilled", "")
    assert not Inbox.objects.exclude(attempts=1).exists()  # no attempt was counted
    assert_sound()


@pytest.mark.usefixtures("steps_of_the_shop")
def test_during_the_upgrade_unsigned_messages_are_accepted_and_forged_ones_are_not(
    api_client, queues
):
    placed = order(api_client, "unsigned")
    raw = until(lambda: queues.rpop("payments"), "the charge is in the broker")
    forged, old = Raw(raw), Raw(raw)
    signed_by_another(forged)
    unsigned(old)
    with worker("payments", environ={**QUICK, "SAGA_ACCEPT_UNSIGNED": "on"}) as process:
        queues.lpush("payments", forged.text())
        until(lambda: DISCARDED in process.output(), "it is discarded", process=process)
        assert not Inbox.objects.exists()
        queues.lpush("payments", old.text())
        until(lambda: net(placed) == 1_000, "the unsigned one is processed", process=process)
        assert "accepts messages without a signature" in process.output()


def test_an_invalid_body_and_the_old_protocol_are_discarded(key, queues):
    body = {"task": "sagas.flush", "id": "old", "args": ["payments"], "kwargs": {}}
    with (
        worker("payments", environ=SIGNED) as process,
        current_app.connection_for_write() as connection,
    ):
        producer = connection.Producer(serializer="json")
        producer.publish(body, routing_key="payments")
        until(
            lambda: "id None: its signature" in process.output(),
            "the message of the old protocol is discarded",
            process=process,
        )
        headers = {"task": "sagas.flush", "id": "broken", "lang": "py", "saga_signature": "A" * 43}
        producer.publish(
            b"{{{",
            routing_key="payments",
            content_type="application/json",
            content_encoding="utf-8",
            headers=headers,
        )
        until(lambda: "{{{" in process.output(), "the broken message is discarded", process=process)


def test_an_unknown_task_is_stored_as_a_failure_only_if_it_is_signed(key, queues):
    empty()
    sent = [current_app.send_task(f"newer.task_{n}", queue="payments").id for n in range(4)]
    raw = queues.lrange("payments", 0, -1)
    queues.delete("payments")
    forged = [Raw(text) for text in raw[1:]]
    for tamper, message in zip((unsigned, signed_by_another, renamed), forged, strict=True):
        tamper(message)
    old = json.loads(raw[0]) | {
        "headers": {},
        "body": encoded({"task": "newer.old_protocol", "id": "old", "args": [], "kwargs": {}}),
    }
    with worker("payments", environ=SIGNED) as process:
        queues.lpush("payments", *(message.text() for message in forged), json.dumps(old))
        until(
            lambda: process.output().count(DISCARDED) == len(forged) + 1,
            "each forged message is discarded with one line",
            process=process,
        )
        assert "for task 'newer.task_of_a_stranger', id" in process.output()
        assert "Received unregistered task" not in process.output()
        queues.lpush("payments", raw[0])
        (stored,) = until(TaskResult.objects.all, "the signed one is stored", process=process)
        assert "Received unregistered task of type 'newer.task_3'" in process.output()
        assert queues.llen("payments") == 0
        until(lambda: not queues.exists("unacked"), "all are acknowledged", process=process)
        assert process.output().count(DISCARDED) == len(forged) + 1
    assert with_task_id(sent[3]) == [stored.pk]


def test_signed_orders_reach_their_expected_end(api_client, key):
    methods = {
        "good": "pm_card_visa",
        "poor": "pm_card_chargeDeclined",
        "lost-answer": "pm_sim_timeout_charged",
    }
    with worker(*SERVICES, environ=SIGNED, concurrency=2) as process, beat(environ=SIGNED):
        placed = {name: order(api_client, name, method=method) for name, method in methods.items()}
        placed["sold out"] = order(api_client, "greedy", sku="RARE", quantity=4)
        until(lambda: ended(*placed.values()), "all orders have ended", process=process)
        assert DISCARDED not in process.output()
    assert {name: outcome(order_id)[0] for name, order_id in placed.items()} == {
        "good": "fulfilled",
        "poor": "cancelled",
        "lost-answer": "fulfilled",
        "sold out": "cancelled",
    }
    assert_sound()


@pytest.mark.faults
def test_error_callbacks_and_retries_are_also_signed(key):
    environ = {**SIGNED, "SAGA_STEP_ATTEMPTS": "2", "OUTBOX_BATCH_SIZE": "4"}
    _, bad, killer = begin(names=["Ada", "raise in trips.book", "kill in trips.book"])
    with worker("trips", environ=environ) as process, beat(environ=environ):
        until(
            lambda: not Trip.objects.filter(ended_at=None).exists(),
            "all trips have ended",
            process=process,
        )
        assert DISCARDED not in process.output()
    assert effects(bad) == ["trips.unbook", "trips.drop"]
    assert effects(killer)[-1] == "trips.drop"


def test_a_change_of_keys_loses_no_message(api_client, settings):
    settings.SAGA_SIGNING_KEYS = [OLD_KEY]
    placed = order(api_client, "signed")
    changing = {**QUICK, "SAGA_SIGNING_KEYS": f"{KEY},{OLD_KEY}"}
    with worker(*SERVICES, environ=changing) as process:
        until(lambda: ended(placed), "the order has ended", process=process)
        assert DISCARDED not in process.output()
    assert outcome(placed) == ("fulfilled", "")


def test_a_worker_reads_only_its_queues_and_registers_only_used_tasks(tmp_path, queues):
    empty()
    command = ("celery", "-A", "config", "worker", "-Q", "trips", "-c", "1", "-l", "INFO")
    process = Process(*command, log=Path(tmp_path) / "log", environ=QUICK)
    try:
        until(lambda: " ready." in process.output(), "the worker is ready", process=process)
        exchanges = {key.removeprefix("_kombu.binding.") for key in queues.keys("_kombu.binding.*")}
        assert exchanges == {"trips"}  # no gossip, no mingle, no remote control
        unused = (
            "celery.chord_unlock",
            "celery.chain",
            "celery.map",
            "celery.starmap",
            "celery.chunks",
        )
        for name in unused:
            current_app.send_task(name, queue="trips")
        until(
            lambda: all(
                f"unregistered task of type '{name}'" in process.output() for name in unused
            ),
            "all unused tasks are rejected",
        )
    finally:
        process.kill()


def test_the_only_registered_task_of_celery_is_the_task_that_beat_sends():
    assert {name for name in current_app.tasks if name.startswith("celery.")} == {
        "celery.backend_cleanup"
    }
