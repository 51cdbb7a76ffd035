"""`doctor` hears from the workers and from beat, and compares clocks, steps and limits of files."""

import pytest
from django.contrib.auth.models import User

from orders.models import Order
from sagas.operations import heartbeats
from services import NAMES as SERVICES
from tests.integration.doctor.harness import (
    DATABASES,
    RIGHT,
    doctor,
    hear_worker,
    limited_files,
    shifted_clock,
    wrong,
)
from tests.processes import beat, until, worker

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]


def open_order(step):
    """Place an order under a plan with a further step."""
    plan = {
        "saga": "place_order",
        "steps": [{"name": step}, {"name": "orders.fulfil", "pivot": True}],
        "abort": "orders.cancel",
    }
    ada = User.objects.create_user("ada")
    Order.objects.create(user=ada, amount=100, currency="eur", plan=plan)


@wrong("workers")
def test_a_queue_without_a_worker():
    others = [service for service in SERVICES if service != "inventory"]
    with worker(*others, environ=RIGHT):
        found = doctor("--only", "workers")
    assert found.code == 1
    assert len(found.proved) == len(others)
    assert found.faults == [
        "queue inventory: no worker is alive, no worker in the last day | "
        "Start one: celery -A config worker -Q inventory"
    ]


@wrong("steps")
def test_a_worker_that_lacks_a_step_of_an_open_saga():
    open_order("payments.screen")
    with worker(*SERVICES, environ=RIGHT):
        found = doctor("--only", "steps")
    assert found.code == 1
    (line,) = found.faults
    assert line.startswith("saga place_order (1 open): worker orders-")
    assert "does not know its step payments.screen" in line


@wrong("steps")
def test_an_open_saga_with_a_step_of_no_service():
    open_order("nowhere.check")
    hear_worker()
    found = doctor("--only", "steps")
    assert any(
        "this release has no service for its step nowhere.check" in line for line in found.faults
    )


def test_without_workers_their_steps_are_unknown_and_never_proved():
    found = doctor("--only", "steps", "--only", "clock", "--only", "open-files")
    lines = " ".join(found.unknown)
    assert f"no live worker tells its steps on: {', '.join(sorted(SERVICES))} | " in lines
    assert "none is alive, so their clocks are not known" in lines
    assert "none is alive, so their limits are not known" in lines


def test_workers_of_an_earlier_release_are_unknown_and_never_proved():
    hear_worker(steps=None, clock=None, most_files=None)
    found = doctor("--only", "steps", "--only", "clock", "--only", "open-files")
    lines = " ".join(found.unknown)
    assert "these workers are of an earlier release and do not send their steps" in lines
    assert "1 of an earlier release do not send their clock" in lines
    assert "worker celery@one: an earlier release, which does not tell its limit" in lines


@wrong("beat")
def test_beat_that_has_stopped():
    assert doctor("--only", "beat").faults == [
        "beat: no beat of this release has sent a task in the last day | "
        "Start it: celery -A config beat"
    ]
    with beat(environ=RIGHT) as process:
        until(lambda: heartbeats.seconds_since_beat() is not None, "beat is heard", process=process)
        assert doctor("--only", "beat").code == 0

    (name,) = heartbeats._redis().hkeys(heartbeats.BEAT_KEY)
    heartbeats._redis().hset(heartbeats.BEAT_KEY, name, str(heartbeats._now() - 90))
    (line,) = doctor("--only", "beat").faults
    assert "beat: no beat of this release has sent a task for 9" in line


@pytest.mark.parametrize("garbage", ["", "x", "[]", b"\xff"])
def test_an_unreadable_heartbeat_of_beat_is_ignored(garbage):
    heartbeats._redis().hset(heartbeats.BEAT_KEY, "broken", garbage)
    assert heartbeats.seconds_since_beat() is None


@wrong("clock")
def test_a_host_whose_clock_is_wrong():
    found = doctor("--only", "clock", environ=shifted_clock(3_600))
    assert found.code == 1
    assert [line.split(":")[0] for line in found.faults] == [*DATABASES.values(), "broker"]
    assert "-3600." in found.faults[0] or "-3599." in found.faults[0]


@wrong("clock")
def test_a_worker_whose_clock_is_wrong():
    with worker("payments", environ={**RIGHT, **shifted_clock(-3_600)}):
        found = doctor("--only", "clock")
    (line,) = found.faults
    assert "its host's clock is -3600." in line or "its host's clock is -3599." in line


@wrong("open-files")
def test_an_api_and_a_worker_that_may_open_too_few_files():
    hear_worker(most_files=100)
    found = doctor("--only", "open-files", prefix=limited_files(512))
    assert found.code == 1
    assert len(found.faults) == 2
    assert "API process: may open 512 files, and needs " in found.faults[0]
    assert "worker celery@one: may open 100 files, and needs 128 for 2 processes" in found.faults[1]
