"""The time limits of database sessions are in force, also through a pooler."""

from collections.abc import Iterator, Sequence

from django.conf import settings
from django.db import connections, transaction

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe
from doctor.servers import database_jobs, rows
from sagas.services import stored_for_role

__all__ = ["session_limits"]

# Compared by PostgreSQL, which knows the units.
IN_FORCE = """
SELECT name, current_setting(name), setting::bigint > 0
   AND current_setting(name)::interval <= wanted::interval
  FROM unnest(%s::text[], %s::text[]) AS given(name, wanted)
  JOIN pg_settings USING (name)
"""
SESSION = "SELECT pg_backend_pid(), current_user"


@probe(
    "session-limits",
    proves="the time limits of database sessions are in force, also through a pooler",
)
def session_limits(options: Options) -> Sequence[Job]:
    return database_jobs(_database)


def _database(alias: str, label: str) -> Iterator[Finding]:
    wanted = {
        name: value
        for name, value in settings.SAGA_SESSION_SETTINGS.items()
        if name.endswith("_timeout")
    }
    # In one transaction, so that a pooler answers all from one session.
    with transaction.atomic(using=alias):
        found = rows(alias, IN_FORCE, [list(wanted), list(wanted.values())])
        ((backend, role),) = rows(alias, SESSION)

    session = connections[alias].connection
    # A pooler gives each client a process id of its own.
    pooled = session.info.backend_pid != backend
    through = " through a pooler" if pooled else ""
    missing = [f"{name} is {value}" for name, value, in_force in found if not in_force]
    if missing:
        yield fault(
            f"{label}: not in force{through} for the role {role}: {', '.join(missing)}",
            _remedy(alias, role, wanted, pooled=pooled),
        )
    else:
        values = ", ".join(f"{name} {value}" for name, value, _ in found)
        yield proved(f"{label}: {values} in force, read back from a session{through}")


def _remedy(alias: str, role: str, wanted: dict[str, str], *, pooled: bool) -> str:
    stored = stored_for_role(alias)
    if all(name in stored for name in wanted):
        return (
            "The role has them, but this session is older. Make the pooler open new sessions: "
            "RECONNECT in the console of PgBouncer."
        )
    database = connections[alias].settings_dict["NAME"]
    statements = " ".join(
        f'ALTER ROLE "{role}" IN DATABASE "{database}" SET {name} = \'{value}\';'
        for name, value in wanted.items()
    )
    pooler = "Set DATABASE_POOLER=transaction. " if pooled else ""
    return f"{pooler}Run `manage.py migrate_all` as this role, or: {statements}"
