"""Session settings that PostgreSQL stores for a role in one database.

A pooler drops or refuses the settings that a client sends when it connects. PostgreSQL applies the
settings of a role to every new session of that role, so they hold behind a pooler as well.
https://www.postgresql.org/docs/current/sql-alterrole.html
"""

from collections.abc import Mapping

from django.db import connections
from psycopg import sql

__all__ = ["store_for_role", "stored_for_role"]

STORED = """
SELECT unnest(setconfig) FROM pg_db_role_setting
 WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
   AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
CURRENT = "SELECT current_user, current_database()"
SET = sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET {name} = {value}")


def stored_for_role(alias: str) -> dict[str, str]:
    """Return the settings of the connected role in the database of an alias, as they are stored."""
    with connections[alias].cursor() as cursor:
        cursor.execute(STORED)
        pairs = (entry.partition("=") for (entry,) in cursor.fetchall())
        return {name: value for name, _, value in pairs}


def store_for_role(alias: str, settings: Mapping[str, str]) -> list[str]:
    """Store settings for the connected role; return the names of the settings that changed.

    A role may do this for itself. Only new sessions use them.
    """
    stored = stored_for_role(alias)
    changed = [name for name, value in settings.items() if stored.get(name) != value]
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(CURRENT)
        role, database = cursor.fetchone()
        for name in changed:
            statement = SET.format(
                role=sql.Identifier(role),
                database=sql.Identifier(database),
                name=sql.Identifier(name),
                value=sql.Literal(settings[name]),
            )
            cursor.execute(statement.as_string())
    return changed
