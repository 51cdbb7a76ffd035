"""The three databases, one for each service, and the time limits every session works under."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

__all__ = ["databases"]

VARIABLES = {
    "default": "DATABASE_URL",
    "payments": "PAYMENTS_DATABASE_URL",
    "inventory": "INVENTORY_DATABASE_URL",
}
ALIASES = {"orders": "default", "payments": "payments", "inventory": "inventory"}

ABSENT = "config.absent"

# Each below SAGA_LEASE_SECONDS and the broker's visibility timeout: a worker that hangs in a
# transaction lets go of its rows before anyone else may take them over.
TIMEOUTS = {
    "lock_timeout": "5s",
    "statement_timeout": "20s",
    "idle_in_transaction_session_timeout": "15s",
}

# What is read is in memory or on a solid disk, and PostgreSQL's own 4 is that of a turning one:
# with it, the planner reads tables of tens of thousands of rows through to find a hundred.
# https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-RANDOM-PAGE-COST
PLANNER = {"random_page_cost": "1.1"}

# A host that is gone says nothing: the connection is given up within half a minute, rather than in
# hours.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
VANISHED = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
# Statements stay planned on the server: a third of its work, where each saga's are the same few
# dozen.
# https://docs.djangoproject.com/en/stable/ref/databases/#server-side-parameters-binding
PREPARED = {"server_side_binding": True, "prepare_threshold": 2}

# Seconds a request waits for a connection from the pool before it is answered 503; and after which
# the pool gives a failed attempt to connect up, for the next request to begin a new one, where it
# would else wait ever longer.
POOL_PATIENCE = 5
RECONNECT_PATIENCE = 2


def databases(env: environ.Env) -> dict[str, dict[str, Any]]:
    """Return Django's DATABASES; raise ImproperlyConfigured where two services would share a
    database.

    SERVICES names those that the process serves, all by default. The addresses of the others need
    not be set.
    """
    served = _served(env)
    found = {
        alias: _database(env, variable)
        if alias in served or env.str(variable, default="")
        else _absent(variable)
        for alias, variable in VARIABLES.items()
    }
    places: dict[tuple[Any, ...], str] = {}
    for alias, config in found.items():
        if config["ENGINE"] == ABSENT:
            continue
        place = (config["HOST"], config["PORT"], config["NAME"])
        if place in places:
            raise ImproperlyConfigured(
                f"{VARIABLES[alias]} and {places[place]} name the same database. Each service needs one of its own."
            )
        places[place] = VARIABLES[alias]
    return found


def _served(env: environ.Env) -> set[str]:
    """Return the aliases of the databases that the process cannot do without."""
    services = env.list("SERVICES", default=[]) or list(ALIASES)
    if unknown := ", ".join(service for service in services if service not in ALIASES):
        raise ImproperlyConfigured(f"SERVICES names {unknown}. There are {', '.join(ALIASES)}.")
    return {ALIASES[service] for service in services}


def _absent(variable: str) -> dict[str, Any]:
    return {"ENGINE": ABSENT, "NAME": variable}


def _database(env: environ.Env, variable: str) -> dict[str, Any]:
    if not env.str(variable, default=""):
        raise ImproperlyConfigured(
            f"{variable} is not set. Set it, or start the embedded servers: `make run` writes it to .run/env."
        )
    config = dict(env.db_url(variable))
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(
            f"{variable} is no PostgreSQL URL; the saga needs PostgreSQL's row locks."
        )
    given = config.get("OPTIONS", {})
    options = (
        _session(PLANNER),
        given.get("options", ""),
        _session(TIMEOUTS),
    )  # of two that differ, the last holds
    config["OPTIONS"] = {**VANISHED, **given, "options": " ".join(filter(None, options))}
    if env.bool("DATABASE_PREPARED_STATEMENTS", default=True):
        config["OPTIONS"] |= PREPARED
    config["CONN_MAX_AGE"] = None
    config["CONN_HEALTH_CHECKS"] = True
    if size := env.int("DATABASE_POOL_SIZE", default=0):
        config["OPTIONS"]["pool"] = _pool(size)
        config["CONN_MAX_AGE"] = 0
    return config


def _session(settings: dict[str, str]) -> str:
    """Return settings as libpq's `options` has them."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _pool(size: int) -> dict[str, Any]:
    """Return the options of a pool that the threads of one process share. Never for processes
    that fork, as workers.
    """
    return {
        "min_size": 0,
        "max_size": size,
        "timeout": POOL_PATIENCE,
        "reconnect_timeout": RECONNECT_PATIENCE,
    }
