"""`manage.py startservice`: write the skeleton of a new service."""

from argparse import ArgumentParser
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.new_service import NewStep, files
from services import ALIASES, NAMES
from services.declaration import NAME

__all__ = ["Command"]

NEXT = """
1. Add this line to the plan in orders/saga.py, before the pivot:

{plan}

2. Add this line to SERVICES in services/registry.py:

        {service},

3. Create the tables: python manage.py migrate_all
4. Start a worker: celery -A config worker -Q {name}
5. In pyproject.toml, add "{name}" where it lists "inventory" for mypy and for import-linter:
   `files`, `root_packages`, the layer of the services, and the modules of the contracts.
"""


class Command(BaseCommand):
    """Write the app, its migration and its tests, and print the lines to add."""

    requires_system_checks = ()

    help = (
        "Writes the skeleton of a new service: an app with the tables of the engine, its steps, "
        "events, admin, migration and tests. Prints the two lines that make it a part of the saga: "
        "one of the plan, and one of the registry of services."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", help="the name of the service: its app, its queue")
        parser.add_argument(
            "--steps",
            required=True,
            metavar="STEP[:UNDO],…",
            help="the steps without the name of the service; an undo is named undo_STEP by default",
        )
        parser.add_argument(
            "--database",
            default="",
            choices=sorted(set(ALIASES.values())),
            help="the alias of a database to share; by default the service has one of its own",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files. Raises CommandError if a name is unfit or taken."""
        name = options["name"]
        _require_free(name)
        steps = [_step(name, part) for part in options["steps"].split(",")]
        _require_different(steps)

        for path, text in files(name, steps):
            target = Path(settings.BASE_DIR) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {path}")

        self.stdout.write(_next(name, steps, options["database"]))


def _require_free(name: str) -> None:
    _require_fit(name)
    if name in NAMES or find_spec(name) or (Path(settings.BASE_DIR) / name).exists():
        raise CommandError(f"The name {name!r} is taken by a module or a folder. Choose another.")


def _require_fit(name: str) -> None:
    if not NAME.fullmatch(name) or iskeyword(name):
        raise CommandError(
            f"The name {name!r} is unfit. Use lower-case letters, digits and underscores, and begin"
            " with a letter."
        )


def _step(service: str, part: str) -> NewStep:
    name, _, undo = part.strip().partition(":")
    step = NewStep(service, name, undo or f"undo_{name}")
    _require_fit(step.name)
    _require_fit(step.undo_name)
    return step


def _require_different(steps: list[NewStep]) -> None:
    names = [name for step in steps for name in (step.name, step.undo_name)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CommandError(
            f"Named twice: {', '.join(twice)}. Give each step and undo its own name."
        )


def _next(name: str, steps: list[NewStep], database: str) -> str:
    plan = "\n".join(f'    Step("{step.action}", undo="{step.undo}"),' for step in steps)
    shared = f', database="{database}"' if database else ""
    return NEXT.format(name=name, plan=plan, service=f'Service("{name}"{shared})')
