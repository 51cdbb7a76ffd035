"""Rate limits per minute; and a cache that is down delays only the first request."""

import socket
import time
from types import SimpleNamespace

import pytest
import redis
from django.core.cache import cache
from django.test import Client

from api.auth import throttling
from tests.integration.orders import harness
from tests.plugin import running

TYPE = "/errors/too-many-requests"


@pytest.fixture(autouse=True)
def one_minute(monkeypatch):
    """An empty cache, and a minute that lasts as long as the test."""
    cache.clear()
    monkeypatch.setattr(throttling, "_circuit", throttling._Circuit())
    at(60_000_015, monkeypatch)


@pytest.fixture
def limits(settings):
    """Set some limits; the rest is unlimited."""

    def set_to(factor=5, **given):
        settings.RATE_LIMITS = {**dict.fromkeys(settings.RATE_LIMITS, 0), **given}
        settings.RATE_LIMIT_ADDRESS_FACTOR = factor

    return set_to


def at(seconds, monkeypatch):
    """Stop the throttle's clock."""
    monkeypatch.setattr(
        throttling, "time", SimpleNamespace(time=lambda: seconds, monotonic=time.monotonic)
    )


def statuses(call, times):
    return [call().status_code for _ in range(times)]


def test_a_user_who_reads_too_often_is_told_when_to_come_back(ada, limits):
    limits(read=2)
    client = harness.client_of("ada")
    assert statuses(lambda: client.get(harness.ORDERS), 2) == [200, 200]
    answer = client.get(harness.ORDERS)
    assert (answer.status_code, answer.json()["type"]) == (429, TYPE)
    assert answer.headers["Retry-After"] == "45"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_next_minute_begins_anew(ada, limits, monkeypatch):
    limits(read=1)
    client = harness.client_of("ada")
    assert statuses(lambda: client.get(harness.ORDERS), 2) == [200, 429]
    at(60_000_060, monkeypatch)
    assert client.get(harness.ORDERS).status_code == 200


def test_reading_writing_and_ordering_are_counted_apart(ada, limits):
    limits(read=1, write=1, orders=1)
    harness.stocked()
    client = harness.client_of("ada")
    placed = harness.place(client, key="k")
    assert placed.status_code == 201
    assert harness.place(client, key="k").status_code == 429
    cancel = harness.path(placed.json()["id"], "cancel/")
    assert statuses(lambda: client.post(cancel), 2) == [202, 429]
    assert statuses(lambda: client.get(harness.ORDERS), 2) == [200, 429]


def test_users_are_counted_apart_and_an_address_with_all_of_them(ada, limits):
    limits(factor=2, read=2)
    clients = [harness.client_of(name) for name in ("ada", "bob", "cleo")]
    read = [
        client.get(harness.ORDERS, REMOTE_ADDR="192.0.2.1").status_code
        for client in clients
        for _ in range(2)
    ]
    assert read == [200, 200, 200, 200, 429, 429]
    assert (
        clients[2].get(harness.ORDERS, REMOTE_ADDR="192.0.2.2").status_code == 429
    )  # cleo has used hers up
    assert harness.client_of("dora").get(harness.ORDERS, REMOTE_ADDR="192.0.2.2").status_code == 200


def test_neighbours_of_ipv6_are_one_address(ada, limits):
    limits(factor=1, read=2)
    clients = [harness.client_of(name) for name in ("ada", "bob", "cleo")]
    hosts = ("2001:db8::1", "2001:db8::ffff:2", "2001:db8::3")
    read = [
        client.get(harness.ORDERS, REMOTE_ADDR=host).status_code
        for client, host in zip(clients, hosts, strict=True)
    ]
    assert read == [200, 200, 429]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "counted_as_one"),
    [
        (0, ("198.51.100.1", "198.51.100.2"), True),  # no proxy is trusted
        (1, ("198.51.100.1", "198.51.100.2"), False),
        (
            1,
            ("192.0.2.66, 198.51.100.1", "192.0.2.67, 198.51.100.1"),
            True,
        ),  # what the client made up goes before
        (2, ("198.51.100.1, 10.0.0.1", "198.51.100.2, 10.0.0.1"), False),
        (1, ("nonsense", "unknown"), True),
    ],
)
def test_a_forwarded_address_is_believed_as_far_as_our_proxies_reach(
    ada, limits, settings, proxies, forwarded, counted_as_one
):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    limits(factor=1, read=1)
    read = [
        harness.client_of(name)
        .get(harness.ORDERS, headers={"X-Forwarded-For": address})
        .status_code
        for name, address in zip(("ada", "bob"), forwarded, strict=True)
    ]
    assert read == [200, 429 if counted_as_one else 200]


def test_who_tries_tokens_is_stopped_and_their_neighbours_with_a_token_are_not(ada, limits):
    limits(stranger=2)
    stranger = Client(headers={"Authorization": "Bearer guess"})
    assert statuses(lambda: stranger.get(harness.ORDERS), 4) == [401, 401, 429, 429]
    assert harness.client_of("ada").get(harness.ORDERS).status_code == 200


def test_logins_are_counted_by_address(ada, limits):
    limits(login=2)
    body = {"username": "ada", "password": "correct horse"}
    login = lambda: Client().post("/api/v1/auth/token/", body, content_type="application/json")  # noqa: E731
    assert statuses(login, 3) == [200, 200, 429]


def test_nothing_is_counted_where_there_is_no_limit(ada, limits):
    limits()
    assert statuses(lambda: harness.client_of("ada").get(harness.ORDERS), 3) == [200] * 3
    with redis.Redis.from_url(running().valkey.url) as client:
        assert list(client.scan_iter("*rate:*")) == []


@pytest.mark.parametrize("how", ["down", "hung", "frozen"])
def test_without_the_cache_requests_go_on_and_only_the_first_waits(
    ada, limits, settings, how, broker, caplog
):
    limits(read=1, write=1, orders=1)
    client = harness.client_of("ada")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if how == "frozen":
            assert client.get(harness.ORDERS).status_code == 200
            broker.freeze()
        else:
            port = silent.getsockname()[1] if how == "hung" else 1
            settings.CACHES = {
                "default": {**settings.CACHES["default"], "LOCATION": f"redis://127.0.0.1:{port}/0"}
            }
        assert statuses(lambda: client.get(harness.ORDERS), 20) == [200] * 20
    assert (
        len([record for record in caplog.records if "because the cache failed" in record.message])
        == 1
    )
    waits = settings.CACHES["default"]["OPTIONS"]
    assert waits["socket_connect_timeout"] + waits["socket_timeout"] <= 1


def test_once_the_cache_is_back_it_counts_again(ada, limits, broker, monkeypatch):
    limits(read=1)
    client = harness.client_of("ada")
    broker.kill()
    assert statuses(lambda: client.get(harness.ORDERS), 3) == [200] * 3
    broker.start()
    assert client.get(harness.ORDERS).status_code == 200
    monkeypatch.setattr(throttling._circuit, "skip_cache_until", 0.0)
    assert statuses(lambda: client.get(harness.ORDERS), 2) == [200, 429]
