"""Writes the skeleton of a new service: an app whose steps the engine can run at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps.registry import Apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.template import Context, Engine

from sagas.models import BASES, TimelineEvent, TrackedSaga

__all__ = ["NewStep", "files"]

TEMPLATES = Path(__file__).parent / "service_template"

IMPORT = re.compile(r"^from [\w.]+ import (?:\([^)]*\)|[^\n(]+)\n", re.MULTILINE)
IMPORTS = re.compile(rf"(?:{IMPORT.pattern})+", re.MULTILINE)

# The models of the engine that every service derives. Only the home of a saga needs the others.
MODELS = sorted(set(BASES) - {TimelineEvent, TrackedSaga}, key=lambda model: model.__name__)

# The template of each file, by its path. The folder of the app is named {name}.
PATHS = {
    "{name}/__init__.py": "package.txt",
    "{name}/apps.py": "apps.txt",
    "{name}/models.py": "models.txt",
    "{name}/events.py": "events.txt",
    "{name}/steps.py": "steps.txt",
    "{name}/admin.py": "admin.txt",
    "tests/integration/{name}/test_steps.py": "tests.txt",
}


@dataclass(frozen=True)
class NewStep:
    """A step to write: its action and its undo, both without the name of the service."""

    service: str
    name: str
    undo_name: str

    @property
    def action(self) -> str:
        """The name of the action in a plan."""
        return f"{self.service}.{self.name}"

    @property
    def undo(self) -> str:
        """The name of the undo in a plan."""
        return f"{self.service}.{self.undo_name}"

    def as_context(self) -> dict[str, str]:
        """Return the values that the templates use."""
        return {
            "name": self.name,
            "undo_name": self.undo_name,
            "action": self.action,
            "undo": self.undo,
            "class": _class_name(self.name),
        }


def files(name: str, steps: Sequence[NewStep]) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of a new service."""
    classes = [_class_name(step.name) for step in steps]
    context = {
        "name": name,
        "class": _class_name(name),
        "models": [model.__name__ for model in MODELS],
        "steps": [step.as_context() for step in steps],
        "events": sorted(
            f"{class_}{end}" for class_ in classes for end in ("Done", "Refused", "Undone")
        ),
        "functions": sorted(part for step in steps for part in (step.name, step.undo_name)),
    }
    engine = Engine(dirs=[str(TEMPLATES)], autoescape=False)
    for path, template in PATHS.items():
        text = engine.get_template(template).render(Context(context))
        yield path.format(name=name), _with_sorted_imports(text).rstrip() + "\n"

    yield f"{name}/migrations/__init__.py", ""
    yield f"{name}/migrations/0001_initial.py", _first_migration(name)
    yield f"tests/integration/{name}/__init__.py", ""


def _first_migration(name: str) -> str:
    """Return the migration that creates the tables of the engine in a new app.

    The app is not installed yet, so the models are made here, in a registry of their own.
    """
    after = ProjectState()
    for model in MODELS:
        after.add_model(ModelState.from_model(_derived(model, name)))

    questioner = MigrationQuestioner(specified_apps={name})
    detector = MigrationAutodetector(ProjectState(), after, questioner)
    changes: dict[str, list[Any]] = detector.changes(
        graph=MigrationGraph(), convert_apps={name}, migration_name="initial"
    )
    (migration,) = changes[name]
    migration.initial = True
    return MigrationWriter(migration, include_header=False).as_string()


def _derived(base: Any, name: str) -> Any:
    options = {"abstract": False, "app_label": name, "apps": Apps()}
    meta = type("Meta", (base.Meta,), options)
    return type(base.__name__, (base,), {"__module__": f"{name}.models", "Meta": meta})


def _with_sorted_imports(text: str) -> str:
    """Sort the imports of each block by module, because the new name may come anywhere."""
    return IMPORTS.sub(lambda block: "".join(sorted(IMPORT.findall(block[0]), key=_module)), text)


def _module(statement: str) -> str:
    return statement.split()[1]


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
