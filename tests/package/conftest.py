"""The project of the quickstart, made from the unchanged code blocks of docs/quickstart.md."""

import itertools
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.package.project import TEST_SETTINGS, Project, code_blocks, new_database

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "docs" / "quickstart.md"
SETTINGS = "config/settings.py"

# The numbers of Redis' databases, of which the embedded server has 64. Each project has one. Each
# process of pytest has thirty, because either may get most of the modules.
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(1 + 30 * _process)


def new_broker() -> str:
    parts = urlsplit(os.environ["REDIS_URL"])
    return urlunsplit(parts._replace(path=f"/{next(_numbers)}"))


def new_project(folder: Path, *apps: str) -> Project:
    """Return a project as Django's commands make it, with a database and a broker of its own."""
    database = new_database(os.environ["DATABASE_URL"])
    project = Project(folder, database=database, broker=new_broker())
    project.startproject(*apps)
    return project


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The project of the quickstart, with its tables and one account."""
    project = new_project(tmp_path_factory.mktemp("quickstart") / "project", "shop")
    project.write(code_blocks(QUICKSTART.read_text()), append=(SETTINGS,))
    project.write({SETTINGS: TEST_SETTINGS}, append=(SETTINGS,))
    project.manage("makemigrations", "shop")
    project.manage("migrate", "-v0")
    project.query("INSERT INTO shop_account (balance) VALUES (100)")
    return project


@pytest.fixture
def project(made):
    """The project of the quickstart, with 100 on the account."""
    made.query("UPDATE shop_account SET balance = 100")
    return made
