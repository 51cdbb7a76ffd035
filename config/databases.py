"""The three databases, one for each service, and the time limits every session works under."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

__all__ = ["databases"]

VARIABLES = {"default": "DATABASE_URL", "payments": "PAYMENTS_DATABASE_URL", "inventory": "INVENTORY_DATABASE_URL"}

# Each below SAGA_LEASE_SECONDS and the broker's visibility timeout: a worker that hangs in a transaction lets go of its
# rows before anyone else may take them over.
TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "20s", "idle_in_transaction_session_timeout": "15s"}

# A host that is gone says nothing: the connection is given up within half a minute, rather than in hours.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
VANISHED = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}


def databases(env: environ.Env) -> dict[str, dict[str, Any]]:
    """Return Django's DATABASES; raise ImproperlyConfigured where two services would share a database."""
    found = {alias: _database(env, variable) for alias, variable in VARIABLES.items()}
    places: dict[tuple[Any, ...], str] = {}
    for alias, config in found.items():
        place = (config["HOST"], config["PORT"], config["NAME"])
        if place in places:
            raise ImproperlyConfigured(
                f"{VARIABLES[alias]} and {places[place]} name the same database. Each service needs one of its own."
            )
        places[place] = VARIABLES[alias]
    return found


def _database(env: environ.Env, variable: str) -> dict[str, Any]:
    if not env.str(variable, default=""):
        raise ImproperlyConfigured(
            f"{variable} is not set. Set it, or start the embedded servers: `make run` writes it to .run/env."
        )
    config = dict(env.db_url(variable))
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{variable} is no PostgreSQL URL; the saga needs PostgreSQL's row locks.")
    limits = " ".join(f"-c {name}={limit}" for name, limit in TIMEOUTS.items())
    given = config.get("OPTIONS", {})
    config["OPTIONS"] = {**VANISHED, **given, "options": f"{given.get('options', '')} {limits}".strip()}
    config["CONN_MAX_AGE"] = None
    config["CONN_HEALTH_CHECKS"] = True
    return config
