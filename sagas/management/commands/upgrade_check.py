"""`manage.py upgrade_check`: hold this release against the sagas in flight."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sagas.checks import baseline
from sagas.operations import upgrade
from sagas.operations.diagnosis import BROKER_ERRORS
from sagas.operations.upgrade import InFlight, WorkerLack

__all__ = ["Command"]

# Beside manage.py, where the settings have no BASE_DIR.
FILE = "saga_schemas.json"

STRANDS = 1


class Command(BaseCommand):
    """Print one line for each saga, message or worker that this release would strand."""

    help = (
        "Compares this release with the sagas in flight. It finds steps that they still need and "
        "this release lacks, and contexts that its steps cannot read. It finds live workers that "
        "lack a step, and changes of events since the baseline. Exits with 1 if it finds one, or "
        "if a database or the heartbeats are unknown."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the moment of the check, and the file of the baseline."""
        parser.add_argument(
            "--before",
            choices=("workers", "api"),
            default="api",
            help="the processes to deploy next: before workers, the live ones may lack new steps",
        )
        parser.add_argument("--baseline", type=Path, help=f"default: {FILE} in BASE_DIR")
        parser.add_argument(
            "--write-baseline",
            action="store_true",
            help="write the shapes of this release to the file, and check nothing else",
        )
        parser.add_argument(
            "--accept-breaks",
            action="store_true",
            help="write the baseline although a reader cannot follow a change",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check this release, or write the baseline. Raises SystemExit with 1 for a finding."""
        path: Path = options["baseline"] or Path(getattr(settings, "BASE_DIR", ".")) / FILE
        if options["write_baseline"]:
            self._write(path, accept=options["accept_breaks"])
            return

        found = upgrade.in_flight()
        lines = [*_of_sagas(found), *self._of_baseline(path)]
        if options["before"] == "api":
            lines += _of_workers(found)
        for line in lines:
            self.stdout.write(self.style.ERROR(line))

        counted = f"{found.sagas} open sagas and {found.messages} messages were compared."
        if lines:
            self.stdout.write(f"{len(lines)} findings. {counted}")
            raise SystemExit(STRANDS)
        self.stdout.write(self.style.SUCCESS(f"This release strands no saga. {counted}"))

    def _of_baseline(self, path: Path) -> list[str]:
        before = _read(path)
        if before is None:
            self.stdout.write(
                f"There is no baseline {path}, so changes of events are not compared."
                " Write one with --write-baseline."
            )
            return []
        return [f"schema   {found}" for found in baseline.breaks(before, baseline.current())]

    def _write(self, path: Path, *, accept: bool) -> None:
        now, before = baseline.current(), _read(path)
        found = baseline.breaks(before, now) if before and not accept else []
        for each in found:
            self.stdout.write(self.style.ERROR(f"schema   {each}"))
        if found:
            raise CommandError(
                f"{path} is as before, because readers cannot follow {len(found)} changes. Correct"
                " them, or accept them with --accept-breaks once no message under way has the old"
                " shape."
            )
        baseline.write(path, now)
        self.stdout.write(f"{path} is written.")


def _read(path: Path) -> baseline.Baseline | None:
    try:
        return baseline.read(path)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"{path} is no baseline: {error}") from error


def _of_sagas(found: InFlight) -> Iterator[str]:
    for missing in found.missing:
        yield (
            f"step     {missing.step}: {missing.sagas} open sagas may still run it, and this"
            f" release has no such step, as for saga {missing.example}. Keep it registered until"
            " they have ended."
        )
    for context in found.unreadable:
        yield (
            f"context  {context.step}: it cannot read the context of {context.sagas} open sagas, as"
            f" of saga {context.example}: {context.error}. Give new fields a default, and keep the"
            " types."
        )
    for name in found.unknown:
        yield (
            f"unknown  The database of {name} does not answer, or has a plan that cannot be read,"
            " so its sagas are not compared."
        )


def _of_workers(found: InFlight) -> Iterator[str]:
    try:
        lacks = upgrade.lacks(found.needed)
    except BROKER_ERRORS as error:
        yield f"unknown  The heartbeats of workers cannot be read from Redis: {error}."
        return
    yield from map(_line, lacks)


def _line(lack: WorkerLack) -> str:
    if not lack.worker:
        return f"worker   No live worker takes the queue {lack.queue!r}. Start one."
    if lack.groups:
        return (
            f"worker   The worker {lack.worker} on {lack.queue!r} cannot read parallel groups."
            " Deploy this worker first, then the API."
        )
    if lack.steps is None:
        return (
            f"unknown  The worker {lack.worker} on {lack.queue!r} does not send its steps. Replace"
            " it."
        )
    return (
        f"worker   The worker {lack.worker} on {lack.queue!r} lacks {len(lack.steps)} steps:"
        f" {', '.join(lack.steps)}. Deploy this worker first, then the API."
    )
