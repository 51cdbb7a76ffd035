"""Which databases a process must be given, by the services it serves."""

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError
from django.db.utils import ConnectionHandler

from config.databases import VARIABLES, databases

URLS = {variable: f"postgres://us:secret@db/{alias}" for alias, variable in VARIABLES.items()}


@pytest.fixture
def given(monkeypatch):
    """Return what sets these variables, and of the rest none."""

    def give(*names, **values):
        for name in ("SERVICES", *VARIABLES.values()):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**{name: URLS[name] for name in names}, **values}.items():
            monkeypatch.setenv(name, value)
        return environ.Env()

    return give


def test_a_process_that_serves_all_needs_every_database(given):
    with pytest.raises(ImproperlyConfigured, match="INVENTORY_DATABASE_URL is not set"):
        databases(given("DATABASE_URL", "PAYMENTS_DATABASE_URL"))


@pytest.mark.parametrize("services", ["payments", "orders,payments"])
def test_a_process_needs_the_databases_of_the_services_it_serves(given, services):
    with pytest.raises(ImproperlyConfigured, match="PAYMENTS_DATABASE_URL is not set"):
        databases(given("DATABASE_URL", "INVENTORY_DATABASE_URL", SERVICES=services))


def test_a_service_nobody_knows_is_refused(given):
    with pytest.raises(ImproperlyConfigured, match=r"SERVICES names payment\. There are orders, payments, inventory"):
        databases(given(*URLS, SERVICES="payment"))


def test_the_database_of_another_service_is_named_to_whoever_asks_for_it(given):
    handler = ConnectionHandler(databases(given("PAYMENTS_DATABASE_URL", SERVICES="payments")))
    assert handler["payments"].settings_dict["NAME"] == "payments"
    for alias in ("default", "inventory"):
        with pytest.raises(NotSupportedError, match=f"{VARIABLES[alias]} is not set"):
            handler[alias].get_connection_params()


def test_two_services_never_share_a_database(given):
    shared = URLS["DATABASE_URL"]
    with pytest.raises(ImproperlyConfigured, match="name the same database"):
        databases(given("INVENTORY_DATABASE_URL", DATABASE_URL=shared, PAYMENTS_DATABASE_URL=shared))
