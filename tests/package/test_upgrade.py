"""A host of release 1.0 upgrades: its tables migrate, and its sagas in flight go on."""

from pathlib import Path

import pytest

from tests.package.conftest import QUICKSTART, SETTINGS, new_project
from tests.package.project import TEST_SETTINGS, code_blocks, until

pytestmark = pytest.mark.package

RELEASE = Path(__file__).parent / "release_1_0"

APPS = 'INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "shop"] + ["legacy"]\n'


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host with the tables and the rows of release 1.0, and the code of this release."""
    project = new_project(tmp_path_factory.mktemp("legacy") / "project")
    documented = code_blocks(QUICKSTART.read_text())
    config = {name: code for name, code in documented.items() if name.startswith("config/")}
    project.write(config, append=(SETTINGS,))
    project.write({SETTINGS: TEST_SETTINGS + APPS}, append=(SETTINGS,))
    sources = {path.relative_to(RELEASE): path for path in RELEASE.rglob("*.py")}
    project.write({str(name): path.read_text() for name, path in sources.items()})

    project.manage("migrate", "-v0", "--skip-checks")
    project.query((RELEASE / "rows.sql").read_text())
    project.manage("makemigrations", "legacy")
    project.manage("migrate", "-v0")
    return project


def test_the_migrations_of_the_host_are_complete(host):
    assert "No changes" in host.manage("makemigrations", "--check", "--dry-run", "legacy")
    assert "no issues" in host.manage("check")


def test_the_sagas_in_flight_go_on_to_their_end(host):
    counted = "SELECT count(*) FROM legacy_trip WHERE status = 'confirmed' AND ended_at IS NOT NULL"
    with host.worker():
        until(lambda: host.value(counted) == 3, "all three trips are confirmed")
    done = "SELECT count(*) FROM legacy_inbox WHERE step = 'legacy.book' AND state = 'done'"
    assert host.value(done) == 3
