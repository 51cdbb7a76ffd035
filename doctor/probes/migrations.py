"""Each database has exactly the migrations of this release."""

from collections.abc import Iterator, Sequence

from django.db import connections
from django.db.migrations.loader import MigrationLoader

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe
from doctor.servers import database_jobs

__all__ = ["migrations"]

MOST_NAMED = 5

Names = Sequence[tuple[str, str]]


@probe("migrations", proves="each database has the migrations of this release, and no newer one")
def migrations(options: Options) -> Sequence[Job]:
    return database_jobs(_database)


def _database(alias: str, label: str) -> Iterator[Finding]:
    loader = MigrationLoader(connections[alias])
    # Every migration, because a plan leaves out a gap before the newest one.
    missing = sorted(key for key in loader.graph.nodes if key not in loader.applied_migrations)
    newer = _newer(loader)

    if missing:
        yield fault(f"{label}: not applied: {_named(missing)}", "Run `manage.py migrate_all`.")
    if newer:
        yield fault(
            f"{label}: of another release, unknown to this one: {_named(newer)}",
            "Run the release that has them, or restore this one's code.",
        )
    if not missing and not newer:
        applied = len(loader.graph.nodes)
        yield proved(f"{label}: all {applied} migrations of this release are applied, none newer")


def _newer(loader: MigrationLoader) -> Names:
    """Return the applied migrations that this release lacks, of the apps that it has."""
    replaced = {key for one in loader.disk_migrations.values() for key in one.replaces}
    known = {*loader.disk_migrations, *replaced}
    return sorted(
        key
        for key in loader.applied_migrations
        if key[0] in loader.migrated_apps
        if key not in known
    )


def _named(names: Names) -> str:
    shown = ", ".join(f"{app}.{name}" for app, name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
