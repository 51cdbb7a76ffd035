"""Checks before a recovery: nothing else may write, and all tables must exist."""

from collections.abc import Iterator

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from sagas import sql
from sagas.operations.heartbeats import recent_heartbeats

__all__ = ["missing_migrations", "other_writers"]

# Sessions of the same role: the API, workers, beat and shells. The server's own processes and the
# sessions of other roles, such as a backup, do not count.
SESSIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
   AND backend_type = 'client backend'
"""


def missing_migrations() -> Iterator[str]:
    """Yield the databases that have migrations to run."""
    for alias in connections:
        executor = MigrationExecutor(connections[alias])
        if plan := executor.migration_plan(executor.loader.graph.leaf_nodes()):
            yield f"{alias!r} lacks {len(plan)} migrations"


def other_writers() -> Iterator[str]:
    """Yield the sessions and the workers that may write while the recovery reads."""
    for alias in connections:
        ((count,),) = sql.fetch(alias, SESSIONS, {})
        if count:
            yield f"{count} other sessions are connected to the database {alias!r}"
    try:
        alive = [worker.name for worker in recent_heartbeats() if worker.alive]
    except RedisError:
        return  # no broker, so no worker gets a message
    if alive:
        yield f"workers are alive: {', '.join(alive)}"
