"""`doctor` on a right set-up, and the list of its probes in code, documents and tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from doctor.registry import probes
from sagas.operations import heartbeats
from services import NAMES as SERVICES
from tests.integration.doctor import (
    test_broker,
    test_databases,
    test_public,
    test_servers,
    test_workers,
)
from tests.integration.doctor.harness import (
    DATABASES,
    RIGHT,
    WRONG,
    as_user,
    doctor,
    second_broker,
)
from tests.pooler import pooler, pooler_urls
from tests.processes import ROOT, beat, environment, until, worker

TESTS = (test_broker, test_databases, test_public, test_servers, test_workers)
NAMES = [one.name for one in probes()]


@pytest.mark.outside
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_right_set_up_has_nothing_to_mend():
    call_command("migrate_all", verbosity=0)
    with worker(*SERVICES, environ=RIGHT), beat(environ=RIGHT):
        until(lambda: heartbeats.seconds_since_beat() is not None, "beat is heard")
        found = doctor()

        assert (found.code, found.faults, found.unknown) == (0, [], [])
        assert {probe for probe, *_ in found.findings} == set(NAMES)

        printed = subprocess.run(
            [sys.executable, "manage.py", "doctor"],
            cwd=ROOT,
            env={**environment(), **RIGHT},
            capture_output=True,
            text=True,
            check=False,
        )
    assert printed.returncode == 0
    lines = printed.stdout.splitlines()
    assert lines[-1] == f"{len(lines) - 1} proved, 0 fault, 0 unknown: nothing to mend"
    first = next(iter(DATABASES.values()))
    assert lines[0] == f"proved  servers         {first}: answers"


@pytest.mark.outside
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_sample_in_the_runbook_is_what_it_prints(tmp_path):
    call_command("migrate_all", verbosity=0)
    section = (ROOT / "docs" / "runbook.md").read_text().partition("doctor --url https://")[2]
    text = section.partition("```text\n")[2].partition("```")[0]
    # A further service may share the database.
    sample = text.replace("orders and returns database", DATABASES["default"]).splitlines()
    user = "user asker on >asker ~* &* +@all -info -config"
    with second_broker(tmp_path, user) as url, pooler() as port:
        environ = {
            **RIGHT,
            **pooler_urls(port),
            "DATABASE_POOLER": "transaction",
            "CELERY_BROKER_URL": as_user(url, "asker", "asker"),
        }
        printed = subprocess.run(
            [sys.executable, "manage.py", "doctor"],
            cwd=ROOT,
            env={**environment(), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    assert printed.returncode == 1
    assert len(sample) == 4
    assert set(sample) <= set(printed.stdout.splitlines())


@pytest.mark.parametrize("module", TESTS, ids=lambda module: module.__name__.split(".")[-1])
def test_every_fault_that_a_test_names_belongs_to_a_probe(module):
    named = re.findall(
        r'^@wrong\("([a-z-]+)"\)\n(?:@.*\n)*def (test_\w+)',
        Path(module.__file__).read_text(),
        re.MULTILINE,
    )
    assert named
    assert {probe for probe, _ in named} <= set(NAMES)


def test_a_test_shows_a_fault_of_every_probe():
    assert set(NAMES) == WRONG


def test_the_runbook_lists_every_probe_in_order():
    text = (ROOT / "docs" / "runbook.md").read_text()
    section = text.partition("## Before production: doctor")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", section, re.MULTILINE)
    assert [name for name, _ in rows] == NAMES


@pytest.mark.outside
@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("url", ["api.example.com", "ftp://api.example.com", "https://a.b/c"])
def test_a_wrong_url_is_refused(url):
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--url", url],
        cwd=ROOT,
        env={**environment(), **RIGHT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "give a scheme and a host: https://api.example.com" in done.stderr
