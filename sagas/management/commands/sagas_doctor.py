"""`manage.py sagas_doctor`: say in words which part of a running system is missing or wrong."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from celery import current_app
from django.core.checks import run_checks
from django.core.management.base import BaseCommand

from sagas.operations import diagnosis
from sagas.storage.registry import service_names

__all__ = ["Command"]

FOUND_A_FAULT = 1


class Command(BaseCommand):
    """Print one line for each fault."""

    help = (
        "Runs all checks of the settings, and connects to databases, broker and Redis. Prints one "
        "line for each fault: tables that are missing, a queue without a worker, beat that does "
        "not run, a broker that cannot be reached. Exits with 1 if there is a fault."
    )
    # The command prints the findings of the checks itself, beside all others.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the faults. Raises SystemExit if there are any."""
        faults = list(_faults())
        for fault in faults:
            self.stdout.write(self.style.ERROR(fault))
        if faults:
            raise SystemExit(FOUND_A_FAULT)

        services = ", ".join(service_names())
        self.stdout.write(
            self.style.SUCCESS(f"Databases, broker, workers and beat of {services} are well.")
        )


def _faults() -> Iterator[str]:
    for message in run_checks():
        if message.is_serious() and not message.is_silenced():
            yield f"{message.id}: {message.msg} {message.hint or ''}".rstrip()

    problems = chain(
        diagnosis.database_problems(),
        diagnosis.broker_problems(current_app),
        diagnosis.worker_problems(current_app),
        diagnosis.beat_problems(),
    )
    yield from map(str, problems)
