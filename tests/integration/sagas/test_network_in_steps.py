"""A step that connects to another system in its transaction is reported, with its own name."""

import socket
from contextlib import closing

import psycopg
import pytest
from django.db import connections
from redis import Redis

from sagas.execution import network_guard
from sagas.execution.failures import Failure
from sagas.execution.network_guard import NetworkInTransaction
from tests.trips import harness
from tests.trips.steps import Booked, behaviour

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def guarded(settings):
    settings.SAGAS = {"NETWORK_IN_STEPS": "raise"}
    network_guard.install()
    network_guard._reported.clear()


@pytest.fixture
def other_system():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()


def book(action) -> list[Failure]:
    """Run trips.book for one trip, which does `action` in its transaction; return its failures."""
    (trip,) = harness.begin()

    def behave(delivery):
        action()
        return Booked()

    behaviour["trips.book", trip] = behave
    return harness.deliver("trips.book", [trip])


def connect_to(address) -> None:
    with closing(socket.socket()) as connecting:
        connecting.connect(address)


def test_a_step_that_connects_in_its_transaction_fails_where_the_setting_says_so(other_system):
    (failure,) = book(lambda: connect_to(other_system))
    assert f"trips.book connects to 127.0.0.1:{other_system[1]}" in failure.error
    assert "Make it an ExternalStep" in failure.error


def test_by_default_it_is_logged_once_for_each_address(other_system, settings, caplog):
    settings.SAGAS = {}
    assert book(lambda: connect_to(other_system)) == []
    assert book(lambda: connect_to(other_system)) == []
    (line,) = [record for record in caplog.records if "ExternalStep" in record.getMessage()]
    assert f"trips.book connects to 127.0.0.1:{other_system[1]}" in line.getMessage()


def test_it_is_not_reported_where_the_setting_allows_it(other_system, settings, caplog):
    settings.SAGAS = {"NETWORK_IN_STEPS": "allow"}
    assert book(lambda: connect_to(other_system)) == []
    assert "ExternalStep" not in caplog.text


def test_a_step_may_connect_to_the_database_and_to_the_broker(settings):
    def use_own_servers() -> None:
        parameters = connections["default"].get_connection_params()
        keys = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{key: parameters[key] for key in keys}) as connection:
            connection.execute("SELECT 1")
        Redis.from_url(settings.REDIS_URL).ping()

    assert book(use_own_servers) == []


def test_a_connection_outside_of_a_transaction_is_not_reported(other_system):
    connect_to(other_system)


def test_the_guard_of_a_step_ends_with_its_transaction(other_system):
    with pytest.raises(NetworkInTransaction), network_guard.watch("trips.book"):
        connect_to(other_system)
    connect_to(other_system)
