"""The databases of a process: connections that are kept, or a pool where the process is the API's."""

import environ
import pytest

from config.databases import databases

URLS = {
    "DATABASE_URL": "postgres://u:p@h/orders",
    "PAYMENTS_DATABASE_URL": "postgres://u:p@h/payments",
    "INVENTORY_DATABASE_URL": "postgres://u:p@h/inventory",
}


@pytest.fixture
def env():
    class Given(environ.Env):
        ENVIRON = dict(URLS)

    return Given()


def test_a_process_keeps_its_connections_and_has_no_pool(env):
    for config in databases(env).values():
        assert config["CONN_MAX_AGE"] is None
        assert "pool" not in config["OPTIONS"]


def test_the_api_shares_a_pool_of_bounded_size_that_soon_says_that_it_is_empty(env):
    env.ENVIRON["DATABASE_POOL_SIZE"] = "7"
    for config in databases(env).values():
        assert config["CONN_MAX_AGE"] == 0
        assert config["CONN_HEALTH_CHECKS"]
        assert config["OPTIONS"]["pool"]["max_size"] == 7
        assert config["OPTIONS"]["pool"]["timeout"] <= 5
