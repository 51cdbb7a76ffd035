"""PostgreSQL allows as many connections as the processes may open."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from django.db import connections, transaction

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.probes.processes import gunicorn_config, pool_size
from doctor.probes.workers import queues_without_worker
from doctor.registry import probe
from doctor.servers import databases, rows
from sagas.workers import recent_heartbeats

__all__ = ["enough_connections"]

# Connections of a worker's child to each database: its task, the recorder of its calls in flight,
# the pacer of limited calls, the thread that flushes after a commit, and the thread of work that
# asks outside systems. Operators may set a limit of calls while the worker runs.
FOR_EACH_CHILD = 5

# Connections to each database for beat, a command of an operator, and a shell.
SPARE = 5

# The last two limits are -1 if there is none. Older servers do not have `reserved_connections`.
LIMITS = """
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int
       - COALESCE(current_setting('reserved_connections', true), '0')::int,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
       pg_backend_pid()
"""


class _Limit(NamedTuple):
    """A limit of connections, and the number that is needed within it."""

    allowed: int
    needed: int
    owner: str


@probe("connections", proves="PostgreSQL allows as many connections as the processes may open")
def enough_connections(options: Options) -> Sequence[Job]:
    """Compare for each database, because roles and databases may have limits of their own."""
    return [Job(label, partial(_database, alias, label)) for alias, label in databases().items()]


def _database(alias: str, label: str) -> Iterator[Finding]:
    # In one transaction, so that a pooler answers all from one session.
    with transaction.atomic(using=alias):
        ((server, role, database, backend),) = rows(alias, LIMITS)

    session = connections[alias].connection
    # A pooler gives each client a process id of its own.
    if session.info.backend_pid != backend:
        yield proved(f"{label}: a pooler shares the server's {server} connections")
        return

    served = [one for one in databases() if _server_of(one) == _server_of(alias)]
    with_role = [one for one in served if _user_of(one) == _user_of(alias)]
    each, purpose = _needed()
    limits = [_Limit(server, each * len(served), f"the server, for {_databases(served)}")]
    if role >= 0:
        limits.append(_Limit(role, each * len(with_role), f"the role, for {_databases(with_role)}"))
    if database >= 0:
        limits.append(_Limit(database, each, "the database"))

    short = [
        f"{limit.allowed} of {limit.owner}, but {limit.needed} are needed"
        for limit in limits
        if limit.allowed < limit.needed
    ]
    silent = queues_without_worker(recent_heartbeats())
    known = "; ".join(
        f"{limit.allowed} of {limit.owner}, and {limit.needed} are needed" for limit in limits
    )
    if short:
        yield fault(
            f"{label}: too few connections: {'; '.join(short)} ({purpose})",
            "Raise max_connections or the limit, lower DATABASE_POOL_SIZE, or use a pooler.",
        )
    elif silent:
        yield unknown(
            f"{label}: no worker is alive on {', '.join(silent)}, so it is not known how many"
            f" connections are needed; without that, {known} ({purpose})",
            "Start the workers, and run this again.",
        )
    else:
        yield proved(f"{label}: enough connections: {known} ({purpose})")


def _needed() -> tuple[int, str]:
    """Return the connections to one database that the processes may open at once, and for whom.

    The API is counted as one host has it.
    """
    config = gunicorn_config()
    api = int(config.workers) * (pool_size() or int(config.threads))
    processes = sum(worker.processes for worker in recent_heartbeats() if worker.alive)
    workers = FOR_EACH_CHILD * processes
    purpose = f"for each database {api} of one API host, {workers} of the workers, {SPARE} others"
    return api + workers + SPARE, purpose


def _databases(aliases: Sequence[str]) -> str:
    return "one database" if len(aliases) == 1 else f"{len(aliases)} databases"


def _user_of(alias: str) -> str:
    return str(connections.settings[alias]["USER"])


def _server_of(alias: str) -> tuple[str, str]:
    chosen = connections.settings[alias]
    return chosen["HOST"], str(chosen["PORT"])
