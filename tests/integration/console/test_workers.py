"""The workers of each queue, from the heartbeats of real workers."""

import json

import pytest
import redis
from django.conf import settings
from redis.exceptions import RedisError

from console.dashboard import queue_workers
from console.dashboard.queue_workers import workers_by_queue
from sagas.operations import heartbeats
from tests.processes import until, worker
from tests.system.harness import QUICK

LIVE = "/admin/live/"

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _nobody_yet(monkeypatch):
    """Begin with no worker, and keep no answer."""
    monkeypatch.setattr(queue_workers, "CACHED_SECONDS", 0.0)
    monkeypatch.setattr(queue_workers, "_cache", queue_workers._HeartbeatCache())
    monkeypatch.setattr(heartbeats, "DEAD_AFTER", 3.0)
    told({})


def told(entries):
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.delete(heartbeats.KEY)
    if entries:
        client.hset(heartbeats.KEY, mapping=entries)


def entry(seconds_ago, *queues, processes=2):
    now, _ = redis.Redis.from_url(settings.REDIS_URL).time()
    return json.dumps({"queues": queues, "processes": processes, "at": now - seconds_ago})


def alive():
    return {found.queue: len(found.alive) for found in workers_by_queue(["orders", "payments"])}


def test_workers_are_counted_for_each_of_their_queues():
    told(
        {
            "a": entry(0, "orders", "payments"),
            "b": entry(1, "orders", processes=4),
            "c": entry(99, "payments"),
        }
    )
    first, second, third = workers_by_queue(["orders", "payments", "inventory"])
    assert (first.alive, first.processes) == (["a", "b"], 6)
    assert (second.alive, second.processes) == (["a"], 2)
    assert (third.alive, third.processes, third.seconds) == ([], 0, None)


def test_a_queue_whose_workers_are_gone_says_when_the_last_was_heard(viewer):
    told({"c": entry(300, "payments")})
    page = viewer.get(LIVE)
    found = next(found for found in page.context["workers"] if found.queue == "payments")
    assert found.alive == []
    assert 300 <= found.seconds < 330
    assert '<span class="late">none</span>' in page.content.decode()


def test_a_worker_is_forgotten_after_a_day():
    told({"old": entry(25 * 3600, "orders"), "new": entry(23 * 3600, "orders")})
    assert [one.name for one in heartbeats.recent_heartbeats()] == ["new"]
    assert redis.Redis.from_url(settings.REDIS_URL).hkeys(heartbeats.KEY) == [b"new"]


@pytest.mark.parametrize(
    "garbage", ["", "[]", '{"queues": 1}', b"\xff\x00", '{"queues": [], "processes": "x"}']
)
def test_unreadable_heartbeats_are_left_out(viewer, garbage):
    told({"broken": garbage, b"\xff": entry(0, "orders"), "good": entry(0, "orders")})
    assert viewer.get(LIVE).status_code == 200
    assert alive() == {"orders": 2, "payments": 0}


def test_a_worker_is_heard_as_soon_as_it_is_ready_and_again_when_redis_was_away(
    broker, monkeypatch
):
    with worker("orders", "payments", environ=QUICK):
        assert alive() == {"orders": 1, "payments": 1}
        broker.kill()
        with pytest.raises(RedisError):
            workers_by_queue(["orders"])
        broker.start()
        until(lambda: alive() == {"orders": 1, "payments": 1}, "the worker is heard again")


def test_a_worker_that_is_killed_falls_silent():
    with worker("orders", environ=QUICK) as process:
        assert alive()["orders"] == 1
        process.kill()
        until(lambda: alive()["orders"] == 0, "it is no longer counted")


def test_without_redis_the_page_says_so_and_shows_the_rest(viewer, broker):
    broker.kill()
    page = viewer.get(LIVE)
    assert page.context["down"] == ["queues", "workers"]
    assert "Redis does not answer" in page.content.decode()


def test_an_answer_is_kept_and_so_is_that_there_was_none(monkeypatch, broker):
    monkeypatch.setattr(queue_workers, "CACHED_SECONDS", 3_600.0)
    monkeypatch.setattr(queue_workers, "_cache", queue_workers._HeartbeatCache())
    told({"a": entry(0, "orders")})
    assert alive()["orders"] == 1
    broker.kill()
    assert alive()["orders"] == 1
    monkeypatch.setattr(queue_workers, "_cache", queue_workers._HeartbeatCache())
    with pytest.raises(RedisError):
        alive()
    broker.start()
    with pytest.raises(RedisError):
        alive()
