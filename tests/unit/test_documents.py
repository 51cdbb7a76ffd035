"""The documents name files, modules, `make` targets, commands and settings that exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands

from config.celery import app as celery_app
from sagas.definition import handlers
from services import ALIASES, VARIABLES
from tests.shop import FURTHER, SHOP

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "tools/**/*.md", "tests/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
# The changelog also names files and modules of earlier releases.
CURRENT = [name for name in DOCUMENTS if name != "CHANGELOG.md"]

FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+/")
FILE = re.compile(r"[\w-]+(?:\.[\w-]+)*\.(?:py|md|ya?ml|toml|txt|in|html|svg|json|pml)")
DOTTED = re.compile(r"([a-z_]\w*(?:\.\w+)+)(?:\(.*\))?")
CHECK = re.compile(r"\w+\.[EW]\d{3}")  # the id of a check: test_table_of_checks compares them
TARGET = re.compile(r"\bmake ([a-z]+)\b")
COMMAND = re.compile(r"\bmanage\.py ([a-z_]+)\b")
VARIABLE = re.compile(r"`([A-Z][A-Z_]+)`")
READ = re.compile(r"env\.\w+\(\s*\"([A-Z_]+)\"")

FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
# Without the services of an example that a document invents.
PACKAGES = {name for name in FOLDERS - FURTHER if (ROOT / name / "__init__.py").exists()}
FILE_NAMES = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")} | {
    path.name for path in ROOT.iterdir()
}

each_document = pytest.mark.parametrize("document", DOCUMENTS)
each_current = pytest.mark.parametrize("document", CURRENT)


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def spans(document: str) -> Iterator[str]:
    """Yield the inline code of a document, without its code blocks."""
    yield from SPAN.findall(FENCED.sub("", text_of(document)))


def code(document: str) -> str:
    """Return all code of a document: blocks and inline code."""
    return "\n".join([*FENCED.findall(text_of(document)), *spans(document)])


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = (title.lower() for title in HEADING.findall(FENCED.sub("", path.read_text())))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def is_permission(name: str) -> bool:
    """Tell whether a name is a permission of a model, its own or Django's: `app_label.codename`."""
    label, _, codename = name.partition(".")
    models = [model._meta for model in apps.get_models() if model._meta.app_label == label]
    own = {declared for model in models for declared, _ in model.permissions}
    djangos = {
        f"{kind}_{model.model_name}" for model in models for kind in model.default_permissions
    }
    return codename in own | djangos


def exists(name: str) -> bool:
    """Tell whether a dotted name is a module, an object, a step, a task or a permission."""
    celery_app.loader.import_default_modules()
    if handlers.definition(name) or name in celery_app.tasks or is_permission(name):
        return True

    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@each_document
def test_every_relative_link_resolves(document):
    broken = []
    for link in LINK.findall(FENCED.sub("", text_of(document))):
        address, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:|/", link):
            continue
        target = (ROOT / document).parent / address if address else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken


@each_current
def test_every_path_exists(document):
    named = [span for span in spans(document) if PATH.fullmatch(span)]
    files = [span for span in spans(document) if FILE.fullmatch(span)]

    missing = [
        path
        for path in named
        if path.split("/")[0] in FOLDERS
        and not (ROOT / path).exists()
        and not (ROOT / document).parent.joinpath(path).exists()
    ]

    assert not missing
    assert set(files) <= FILE_NAMES


@each_current
def test_every_dotted_name_exists(document):
    found = (DOTTED.fullmatch(span) for span in spans(document) if not FILE.fullmatch(span))
    named = {match[1] for match in found if match and match[1].split(".")[0] in PACKAGES}
    named = {name for name in named if not CHECK.fullmatch(name)}

    assert not [name for name in sorted(named) if not exists(name)]


@each_document
def test_every_make_target_exists(document):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(TARGET.findall(code(document))) <= targets


@each_document
def test_every_management_command_exists(document):
    assert set(COMMAND.findall(code(document))) <= set(get_commands())


def test_the_page_of_settings_names_every_variable_and_no_other():
    source = "\n".join(path.read_text() for path in (ROOT / "config").glob("*.py"))
    read = set(READ.findall(source)) | {VARIABLES[ALIASES[service]] for service in SHOP}
    table = re.findall(r"^\| (`[^|]+) \|", text_of("docs/settings.md"), re.MULTILINE)

    named = {name for cell in table for name in VARIABLE.findall(cell)}

    assert named == read


@pytest.mark.parametrize("document", [*CURRENT, "config/celery.py"])
def test_a_worker_of_several_queues_has_all_of_the_shop(document):
    queues = re.findall(r"-Q (\w+(?:,\w+)+)", text_of(document))

    assert all(set(named.split(",")) == set(SHOP) for named in queues)


def test_the_index_of_decisions_is_complete():
    index = text_of("docs/adr/README.md")
    files = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}

    assert set(LINK.findall(index)) == files


def test_the_index_of_documents_is_complete():
    linked = set(LINK.findall(text_of("docs/README.md")))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}

    assert pages <= linked
