"""Each sequence is ahead of the ids in its table. A restore may leave it behind."""

from collections.abc import Iterator, Sequence

from psycopg import sql

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe
from doctor.servers import database_jobs, rows

__all__ = ["sequences"]

# Sequences that belong to a column: serial or identity.
OWNED = """
SELECT namespaces.nspname, sequences.relname, tables.relname, columns.attname
  FROM pg_class sequences
  JOIN pg_depend ON pg_depend.objid = sequences.oid AND pg_depend.classid = 'pg_class'::regclass
   AND pg_depend.refclassid = 'pg_class'::regclass AND pg_depend.deptype IN ('a', 'i')
  JOIN pg_class tables ON tables.oid = pg_depend.refobjid
  JOIN pg_namespace namespaces ON namespaces.oid = sequences.relnamespace
  JOIN pg_attribute columns ON columns.attrelid = tables.oid
   AND columns.attnum = pg_depend.refobjsubid
 WHERE sequences.relkind = 'S' AND namespaces.nspname = ANY(current_schemas(false))
 ORDER BY tables.relname
"""
# The table first: an insert between the two reads moves the sequence on.
HIGHEST = sql.SQL("SELECT max({column}) FROM {table}")
NEXT = sql.SQL("SELECT last_value + is_called::int FROM {sequence}")


@probe("sequences", proves="no sequence is behind the ids in its table")
def sequences(options: Options) -> Sequence[Job]:
    return database_jobs(_database)


def _database(alias: str, label: str) -> Iterator[Finding]:
    owned = rows(alias, OWNED)
    behind = 0
    for schema, sequence, table, column in owned:
        highest = _value(
            alias,
            HIGHEST.format(column=sql.Identifier(column), table=sql.Identifier(schema, table)),
        )
        following = _value(alias, NEXT.format(sequence=sql.Identifier(schema, sequence)))
        if highest is not None and highest >= (following or 0):
            behind += 1
            yield fault(
                f"{label}: {sequence} gives {following} next, but {table}.{column} has {highest}",
                f"SELECT setval('{schema}.\"{sequence}\"', {highest});",
            )
    if not behind:
        yield proved(f"{label}: all {len(owned)} sequences are ahead of their tables")


def _value(alias: str, statement: sql.Composed) -> int | None:
    ((value,),) = rows(alias, statement.as_string())
    return None if value is None else int(value)
