"""The errors that a stranger makes first: each is one clear line, at start or in the doctor."""

import re
import socket
from contextlib import closing, contextmanager

import pytest

from tests.package.project import until

pytestmark = pytest.mark.package

# Of `sagas.checks.at_start`: the process does not start.
REFUSED = 3

WORKER = ("-m", "celery", "-A", "config", "worker", "--beat", "-c", "1")

PLAIN_CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""


@pytest.fixture(scope="module")
def nowhere():
    """The address of a port at which no server listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


@contextmanager
def replaced(project, name, text):
    path = project.folder / name
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def refused(project, **environ):
    """Start a worker that must not start; return its lines."""
    with project.process(*WORKER, "-s", str(project.folder / "beat"), **environ) as worker:
        assert worker.wait() == REFUSED, worker.output()
    return worker.output()


def doctor(project, **environ):
    return project.manage("sagas_doctor", ok=False, **environ)


def test_a_project_that_runs_is_well(project):
    with project.worker():
        until(lambda: "are well" in doctor(project), "the doctor finds nothing")


def test_without_a_worker_the_doctor_names_the_queue_and_beat(project):
    project.shell("from sagas.operations.heartbeats import _redis; _redis().flushdb()")
    found = doctor(project)
    assert "No worker takes the queue 'shop', so no step of shop runs." in found
    assert "Beat has sent no task for a day" in found


def test_a_worker_without_tables_does_not_start_and_names_them(project):
    project.query("ALTER TABLE shop_outbox RENAME TO elsewhere")
    try:
        found = refused(project)
        assert found.count("The database 'default' has no table shop_outbox.") == 1
        assert "Run manage.py makemigrations shop, and then manage.py migrate." in found
        assert "has no table shop_outbox" in doctor(project)
    finally:
        project.query("ALTER TABLE elsewhere RENAME TO shop_outbox")


def test_a_worker_with_tables_of_an_older_release_does_not_start_and_names_the_columns(project):
    project.query("ALTER TABLE shop_inbox RENAME COLUMN losses TO missing")
    try:
        assert "The table shop_inbox has no column losses." in refused(project)
    finally:
        project.query("ALTER TABLE shop_inbox RENAME COLUMN missing TO losses")


def test_a_worker_without_a_database_says_which_one_and_goes_on(project, nowhere):
    wrong = project.database.replace(project.database.split("@")[1].split("/")[0], nowhere)
    with project.worker(DATABASE_URL=wrong) as worker:
        line = "The database 'default' of shop cannot be reached"
        until(lambda: line in worker.output(), "the worker names the database")
    assert line in doctor(project, DATABASE_URL=wrong)


def test_a_worker_without_a_broker_says_so_and_tries_again(project, nowhere):
    wrong = f"redis://{nowhere}/0"
    with project.worker(REDIS_URL=wrong) as worker:
        line = f"The broker {wrong} cannot be reached"
        until(lambda: line in worker.output(), "the worker names the broker")
        until(lambda: "Trying again" in worker.output(), "the worker tries again")
    found = doctor(project, REDIS_URL=wrong)
    assert line in found
    assert "The heartbeats of workers cannot be read from Redis" in found


def test_the_password_of_the_broker_is_not_shown(project, nowhere):
    found = doctor(project, REDIS_URL=f"redis://:secret-word@{nowhere}/0")
    assert "cannot be reached" in found
    assert "secret-word" not in found


def test_a_celery_app_that_is_not_configured_is_refused(project):
    with replaced(project, "config/celery.py", PLAIN_CELERY):
        found = refused(project)
    # One fault, not one for each setting that `configure` would have set.
    assert set(re.findall(r"sagas\.E\d+", found)) == {"sagas.E040"}
    assert "sagas.celery.configure" in found


@pytest.mark.parametrize(
    ("addition", "check"),
    [
        ('INSTALLED_APPS.remove("django_celery_results")', "sagas.E110"),
        ("CELERY_BROKER_URL = None", "sagas.E111"),
    ],
)
def test_what_the_engine_cannot_do_without_is_one_fault(project, addition, check):
    settings = (project.folder / "config/settings.py").read_text()
    with replaced(project, "config/settings.py", f"{settings}\n{addition}\n"):
        found = [project.manage("check", ok=False), doctor(project)]
    for output in found:
        assert set(re.findall(r"sagas\.E\d+", output)) == {check}, output
        assert "Traceback" not in output


def test_a_project_without_the_engine_or_without_a_service_says_so(project):
    settings = (project.folder / "config/settings.py").read_text()
    without = f'{settings}\nINSTALLED_APPS.remove("sagas")\n'
    with replaced(project, "config/settings.py", without):
        assert "sagas.E112" in project.manage("check", ok=False)
    without = f'{settings}\nINSTALLED_APPS.remove("shop")\n'
    with replaced(project, "config/settings.py", without):
        assert "No installed app has the tables of a service" in doctor(project)


def test_a_celery_app_without_the_settings_of_django_names_the_line_that_is_missing(project):
    code = (project.folder / "config/celery.py").read_text()
    without = "".join(line for line in code.splitlines(True) if "DJANGO_SETTINGS" not in line)
    with replaced(project, "config/celery.py", without):
        found = project.run("-m", "celery", "-A", "config", "report", ok=False)
    assert 'Put os.environ.setdefault("DJANGO_SETTINGS_MODULE"' in found.strip().splitlines()[-1]


def test_sqlite_is_refused(project):
    lite = 'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "lite.db"}}\n'
    settings = (project.folder / "config/settings.py").read_text()
    with replaced(project, "config/settings.py", f"{settings}\n{lite}"):
        found = refused(project)
    assert "sagas.E065" in found
    assert "PostgreSQL" in found


@pytest.mark.parametrize("url", ["localhost:6379", "redis://localhost:port/0", "http://localhost"])
def test_a_wrong_address_of_redis_is_refused(project, url):
    settings = (project.folder / "config/settings.py").read_text()
    addition = f'SAGAS["REDIS_URL"] = "{url}"\n'
    with replaced(project, "config/settings.py", f"{settings}\n{addition}"):
        found = project.manage("check", ok=False)
    assert "sagas.E066" in found
    assert url in found


@pytest.mark.parametrize(
    ("addition", "check"),
    [
        ('"FLUSH_SECONDS": 60, "STALL_SECONDS": 30', "sagas.E068"),
        ('"LEASE_SECONDS": 0', "sagas.E067"),
        ('"STEP_ATTEMPTS": "many"', "sagas.E067"),
        ('"NETWORK_IN_STEPS": "never"', "sagas.E067"),
        ('"LEASE": 5', "sagas.E064"),
    ],
)
def test_contradictory_settings_are_refused(project, addition, check):
    settings = (project.folder / "config/settings.py").read_text()
    with replaced(project, "config/settings.py", f"{settings}\nSAGAS |= {{{addition}}}\n"):
        found = project.manage("check", ok=False)
    assert check in found
