"""Rate limits per minute; while the cache is down, logins are counted and nothing waits."""

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
TOKEN = "/api/v1/auth/token/"


@pytest.fixture(autouse=True)
def one_minute(monkeypatch):
    """An empty cache, and a minute that lasts as long as the test."""
    cache.clear()
    monkeypatch.setattr(throttling, "_circuit", throttling._Circuit())
    monkeypatch.setattr(throttling, "_own_counters", throttling._OwnCounters())
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


def login(username, password="correct horse", *, page=TOKEN, headers=None, **meta):
    """Log in to the API or the admin."""
    body = {"username": username, "password": password}
    client = Client(headers=headers, **meta)
    if page == TOKEN:
        return client.post(page, body, content_type="application/json")
    return client.post(page, body)


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
        (1, ("nonsense", "unknown"), False),  # an unknown address is not counted
        (2, ("198.51.100.1", "198.51.100.1"), False),
    ],
)
def test_a_forwarded_address_is_believed_as_far_as_our_proxies_reach(
    ada, limits, settings, proxies, forwarded, counted_as_one
):
    settings.TRUSTED_PROXIES = proxies
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


def test_logins_to_the_admin_are_counted_with_those_to_the_api(ada, limits):
    limits(login=3)
    names = ("anna", "bert", "cleo", "dora")
    spray = [Client().post("/admin/login/", {"username": n, "password": "summer"}) for n in names]
    assert [answer.status_code for answer in spray] == [200, 200, 200, 429]
    assert spray[-1]["Retry-After"] == "45"
    assert spray[-1]["Content-Type"] == "text/plain; charset=utf-8"
    assert login("ada").status_code == 429
    elsewhere = {"username": "ada", "password": "correct horse"}
    assert Client(REMOTE_ADDR="192.0.2.9").post("/admin/login/", elsewhere).status_code == 200
    assert Client().get("/admin/login/").status_code == 200


def test_old_passwords_are_counted_when_a_password_is_changed(ada, limits):
    limits(login=2)
    ada.is_staff = True
    ada.save()
    client = Client()
    client.force_login(ada)
    change = {"old_password": "guess", "new_password1": "x", "new_password2": "x"}
    assert statuses(lambda: client.post("/admin/password_change/", change), 3) == [200, 200, 429]


@pytest.mark.parametrize("page", ["/admin/login/", TOKEN])
def test_logins_are_counted_while_the_cache_is_down(ada, limits, settings, page):
    limits(login=2)
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    }
    answers = [login(name, page=page).status_code for name in ("anna", "bert", "cleo")]
    assert (answers[0], answers[2]) == (answers[1], 429)
    assert login("dora", page=page, REMOTE_ADDR="192.0.2.9").status_code == answers[0]


@pytest.mark.parametrize("page", ["/admin/login/", TOKEN])
def test_logins_from_unknown_addresses_are_counted_by_name(ada, limits, settings, page):
    limits(login=6)
    settings.TRUSTED_PROXIES = 1
    wrong = [
        login("ada", "wrong", page=page, headers={"X-Forwarded-For": text}).status_code
        for text in ("unknown", "", "_hidden", "x", "unknown", "unknown", "unknown")
    ]
    assert 429 not in wrong[:6], "no address is locked"
    assert wrong[6] == 429
    other = login("bob", "wrong", page=page, headers={"X-Forwarded-For": "unknown"})
    assert other.status_code == wrong[0]
    known = login("ada", page=page, headers={"X-Forwarded-For": "198.51.100.1:4711"})
    assert known.status_code in (200, 302)


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
