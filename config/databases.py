"""The databases of the services, and the time limits of their sessions."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from services import ALIASES, VARIABLES

__all__ = ["SESSION_SETTINGS", "databases"]

ABSENT = "config.absent"

# Each is below SAGA_LEASE_SECONDS and the broker's visibility timeout, so that a worker that hangs
# in a transaction releases its rows before another worker may take them over.
TIMEOUTS = {
    "lock_timeout": "5s",
    "statement_timeout": "20s",
    "idle_in_transaction_session_timeout": "15s",
}

# Data are in memory or on a solid-state disk. PostgreSQL's default of 4 is for spinning disks, and
# makes the planner scan tables of tens of thousands of rows to find a hundred.
# https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-RANDOM-PAGE-COST
PLANNER = {"random_page_cost": "1.1"}

# `migrate_all` stores these in its role, so that they also hold behind a pooler.
SESSION_SETTINGS = {**PLANNER, **TIMEOUTS}

# A connection to a host that vanished fails within half a minute, not after hours.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}

# The server keeps prepared statements. Planning is a third of its work, and all sagas use the same
# few dozen statements.
# https://docs.djangoproject.com/en/stable/ref/databases/#server-side-parameters-binding
PREPARED = {"server_side_binding": True, "prepare_threshold": 2}

# The kinds of pooler that DATABASE_POOLER accepts.
TRANSACTION = "transaction"
POOLERS = ("", TRANSACTION)

# Seconds that a request waits for a connection from the pool, before it is answered with 503.
POOL_TIMEOUT = 5

# Seconds after which the pool stops retrying to connect. The next request then tries at once,
# whereas the pool's own retries become rarer and rarer.
RECONNECT_TIMEOUT = 2


def databases(env: environ.Env) -> dict[str, dict[str, Any]]:
    """Return Django's DATABASES.

    SERVICES lists the services of this process, all by default. The databases of other services
    need no URL. Raises ImproperlyConfigured if a URL is missing, or the URLs of two aliases name
    the same database.
    """
    served = _served_aliases(env)
    configs = {
        alias: _database(env, variable)
        if alias in served or env.str(variable, default="")
        else _absent(variable)
        for alias, variable in VARIABLES.items()
    }
    _require_separate(configs)
    return configs


def _require_separate(configs: dict[str, dict[str, Any]]) -> None:
    variable_of: dict[tuple[Any, ...], str] = {}
    for alias, config in configs.items():
        if config["ENGINE"] == ABSENT:
            continue
        variable = VARIABLES[alias]
        database = (config["HOST"], config["PORT"], config["NAME"])
        if database in variable_of:
            raise ImproperlyConfigured(
                f"{variable} and {variable_of[database]} name the same database. "
                "Give each service a database of its own, or say in services/registry.py that they "
                "share one."
            )
        variable_of[database] = variable


def _served_aliases(env: environ.Env) -> set[str]:
    """Return the aliases of the databases that this process needs."""
    services = env.list("SERVICES", default=[]) or list(ALIASES)
    if unknown := ", ".join(service for service in services if service not in ALIASES):
        raise ImproperlyConfigured(
            f"SERVICES names an unknown service: {unknown}. Choose from: {', '.join(ALIASES)}."
        )
    return {ALIASES[service] for service in services}


def _absent(variable: str) -> dict[str, Any]:
    return {"ENGINE": ABSENT, "NAME": variable}


def _database(env: environ.Env, variable: str) -> dict[str, Any]:
    if not env.str(variable, default=""):
        raise ImproperlyConfigured(
            f"{variable} is not set. Set it, or use the embedded servers: "
            "python -m tools.local exec -- COMMAND."
        )
    config = dict(env.db_url(variable))
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(
            f"{variable} is not a PostgreSQL URL. The saga needs PostgreSQL, for its row locks."
        )

    config["OPTIONS"] = {**KEEPALIVE, **_session_options(env, variable, config.get("OPTIONS", {}))}
    if env.bool("DATABASE_PREPARED_STATEMENTS", default=not _behind_pooler(env)):
        config["OPTIONS"] |= PREPARED

    # Such a cursor outlives its transaction, and a pooler gives the session away after it.
    config["DISABLE_SERVER_SIDE_CURSORS"] = _behind_pooler(env)
    config["CONN_MAX_AGE"] = None
    config["CONN_HEALTH_CHECKS"] = True
    if size := env.int("DATABASE_POOL_SIZE", default=0):
        config["OPTIONS"]["pool"] = _pool(size)
        config["CONN_MAX_AGE"] = 0
    return config


def _behind_pooler(env: environ.Env) -> bool:
    """Return whether DATABASE_POOLER names a pooler. Raises ImproperlyConfigured if unknown."""
    kind: str = env.str("DATABASE_POOLER", default="")
    if kind not in POOLERS:
        raise ImproperlyConfigured(
            f"DATABASE_POOLER is {kind!r}. Set it to {TRANSACTION!r} behind a pooler in "
            "transaction mode, such as PgBouncer, and leave it out otherwise."
        )
    return kind == TRANSACTION


def _session_options(env: environ.Env, variable: str, from_url: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a URL, with our session settings in libpq's `options`.

    A pooler refuses or drops `options`. Behind it the settings of the role hold instead. Raises
    ImproperlyConfigured if a URL has `options` there.
    """
    if _behind_pooler(env):
        if "options" in from_url:
            raise ImproperlyConfigured(
                f"{variable} has options, which a pooler in transaction mode does not pass on. "
                "Store them in the role: ALTER ROLE … IN DATABASE … SET …"
            )
        return from_url

    # The last of two different values wins: a URL may change the planner's settings, but not the
    # time limits.
    session = (_session(PLANNER), from_url.get("options", ""), _session(TIMEOUTS))
    return {**from_url, "options": " ".join(filter(None, session))}


def _session(settings: dict[str, str]) -> str:
    """Return session settings in the format of libpq's `options`."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _pool(size: int) -> dict[str, Any]:
    """Return the options of a pool for the threads of one process.

    Workers must not use it, because a pool does not survive a fork.
    """
    return {
        "min_size": 0,
        "max_size": size,
        "timeout": POOL_TIMEOUT,
        "reconnect_timeout": RECONNECT_TIMEOUT,
    }
