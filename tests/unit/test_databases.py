"""The databases that a process needs for its services, and the options of its connections."""

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError
from django.db.utils import ConnectionHandler

from config.databases import databases
from services import VARIABLES

URLS = {variable: f"postgres://us:secret@db/{alias}" for alias, variable in VARIABLES.items()}


@pytest.fixture
def given(monkeypatch):
    """Return a function that sets these variables and unsets the others."""

    def give(*names, **values):
        for name in (
            "SERVICES",
            "DATABASE_POOL_SIZE",
            "DATABASE_POOLER",
            "DATABASE_PREPARED_STATEMENTS",
            *VARIABLES.values(),
        ):
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


def test_an_unknown_service_is_refused(given):
    with pytest.raises(
        ImproperlyConfigured,
        match=r"unknown service: payment\. Choose from: orders, payments, inventory",
    ):
        databases(given(*URLS, SERVICES="payment"))


def test_a_query_of_another_services_database_raises_an_error_that_names_it(given):
    handler = ConnectionHandler(databases(given("PAYMENTS_DATABASE_URL", SERVICES="payments")))
    assert handler["payments"].settings_dict["NAME"] == "payments"
    for alias in ("default", "inventory"):
        with pytest.raises(NotSupportedError, match=f"{VARIABLES[alias]} is not set"):
            handler[alias].get_connection_params()


def test_two_services_never_share_a_database(given):
    with pytest.raises(ImproperlyConfigured, match="name the same database"):
        databases(given(*URLS, PAYMENTS_DATABASE_URL=URLS["DATABASE_URL"]))


def test_the_url_overrides_the_planners_settings_but_not_the_time_limits(
    given,
):
    url = URLS["DATABASE_URL"] + "?options=-c%20random_page_cost%3D2%20-c%20lock_timeout%3D1h"
    options = databases(given(*URLS, DATABASE_URL=url))["default"]["OPTIONS"]["options"]
    in_force = dict(one.split("=") for one in options.removeprefix("-c ").split(" -c "))
    assert (in_force["random_page_cost"], in_force["lock_timeout"]) == ("2", "5s")
    assert databases(given(*URLS))["default"]["OPTIONS"]["options"].startswith(
        "-c random_page_cost=1.1 "
    )


def test_a_process_keeps_its_connections_and_has_no_pool(given):
    for config in databases(given(*URLS)).values():
        assert config["CONN_MAX_AGE"] is None
        assert "pool" not in config["OPTIONS"]


def test_the_api_has_a_bounded_pool_with_a_short_timeout(given):
    for config in databases(given(*URLS, DATABASE_POOL_SIZE="7")).values():
        assert config["CONN_MAX_AGE"] == 0
        assert config["CONN_HEALTH_CHECKS"]
        assert config["OPTIONS"]["pool"]["max_size"] == 7
        assert config["OPTIONS"]["pool"]["timeout"] <= 5


def test_statements_are_prepared_unless_a_pooler_cannot_track_them(given):
    for config in databases(given(*URLS)).values():
        assert config["OPTIONS"]["server_side_binding"]
        assert config["OPTIONS"]["prepare_threshold"] == 2
    for config in databases(given(*URLS, DATABASE_PREPARED_STATEMENTS="off")).values():
        assert not {"server_side_binding", "prepare_threshold"} & set(config["OPTIONS"])


def test_behind_a_pooler_no_connection_needs_its_own_session(given):
    for config in databases(given(*URLS, DATABASE_POOLER="transaction")).values():
        assert not {"options", "server_side_binding", "prepare_threshold"} & set(config["OPTIONS"])
        assert config["DISABLE_SERVER_SIDE_CURSORS"]
    for config in databases(given(*URLS)).values():
        assert not config["DISABLE_SERVER_SIDE_CURSORS"]


def test_statements_are_prepared_behind_a_pooler_that_tracks_them(given):
    variables = {"DATABASE_POOLER": "transaction", "DATABASE_PREPARED_STATEMENTS": "on"}
    for config in databases(given(*URLS, **variables)).values():
        assert config["OPTIONS"]["prepare_threshold"] == 2


def test_an_unknown_pooler_is_refused(given):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_POOLER is 'session'"):
        databases(given(*URLS, DATABASE_POOLER="session"))


def test_options_that_a_pooler_would_drop_are_refused(given):
    url = URLS["DATABASE_URL"] + "?options=-c%20random_page_cost%3D2"
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL has options"):
        databases(given(*URLS, DATABASE_URL=url, DATABASE_POOLER="transaction"))
