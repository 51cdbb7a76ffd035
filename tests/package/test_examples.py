"""Each example runs unchanged, and survives the kill of its worker."""

import json
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.package.conftest import ROOT, new_broker
from tests.package.project import Project, new_database, until

pytestmark = pytest.mark.package

# Files that can be read at once.
MOST_LINES = {"monolith": 150, "external_step": 200, "approval": 210}

# The example as it is, in a project that has Django's admin as well.
WITH_ADMIN = """
from django.conf import LazySettings

APPS = ("admin", "auth", "contenttypes", "messages", "sessions")
PROCESSORS = ["django.template.context_processors.request",
              "django.contrib.auth.context_processors.auth",
              "django.contrib.messages.context_processors.messages"]
ADMIN = {
    "ROOT_URLCONF": "with_admin",
    "MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware",
                   "django.contrib.auth.middleware.AuthenticationMiddleware",
                   "django.contrib.messages.middleware.MessageMiddleware"],
    "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                   "OPTIONS": {"context_processors": PROCESSORS}}],
}
configure = LazySettings.configure

def configure_with_admin(self, **given):
    apps = [*(f"django.contrib.{app}" for app in APPS), *given.pop("INSTALLED_APPS")]
    configure(self, INSTALLED_APPS=apps, STATIC_URL="static/", **ADMIN, **given)

LazySettings.configure = configure_with_admin
import monolith

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import path
from sagas.admin.tracked import SagaAdmin

admin.site.register(monolith.Order, SagaAdmin)
urlpatterns = [path("admin/", admin.site.urls)]

def show_list():
    call_command("migrate", run_syncdb=True, verbosity=0)
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.create_superuser("ada"))
    print(client.get("/admin/monolith/order/").content.decode())
"""

WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def example(request, tmp_path) -> Project:
    """The folder of an example, with a database that has its tables."""
    folder: Path = ROOT / "examples" / request.param
    database = new_database(os.environ["DATABASE_URL"])
    project = Project(tmp_path / request.param, database=database, broker=new_broker())
    project.write(
        {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}
    )
    project.run(f"{request.param}.py", "migrate", "--run-syncdb", "-v0")
    return project


@contextmanager
def worker(example: Project):
    command = ("-m", "celery", "-A", example.folder.name, "worker", "--beat", "-c", "1")
    with example.process(*command, "-s", str(example.folder / "beat")) as process:
        yield process


def orders(example: Project) -> list[str]:
    """Return the status of each order in the order of the alphabet."""
    return sorted(status for (status,) in example.query("SELECT status FROM monolith_order"))


@pytest.mark.parametrize("name", MOST_LINES)
def test_an_example_is_short(name):
    text = (ROOT / "examples" / name / f"{name}.py").read_text()
    assert len(text.splitlines()) <= MOST_LINES[name]


@pytest.mark.parametrize("example", ["monolith"], indirect=True)
def test_the_monolith_ships_what_is_paid_and_cancels_the_rest(example):
    example.run("monolith.py", "place", "70")
    example.run("monolith.py", "place", "70")
    with worker(example):
        until(lambda: orders(example) == ["cancelled", "shipped"], "both orders ended")
    listed = example.run("monolith.py", "orders").splitlines()
    assert sorted(line.split()[-1] for line in listed) == ["cancelled", "shipped"]
    assert example.value("SELECT balance FROM monolith_account") == 30


@pytest.mark.parametrize("example", ["monolith"], indirect=True)
def test_the_list_of_the_admin_shows_the_facts_of_the_monolith(example):
    example.run("monolith.py", "place", "70")
    example.write({"with_admin.py": WITH_ADMIN})
    page = example.run("-c", "import with_admin; with_admin.show_list()")
    assert 'class="field-column">0.70 EUR<' in page
    assert "Shipping placed" in page


@pytest.mark.parametrize("example", ["monolith"], indirect=True)
def test_the_monolith_survives_the_kill_of_its_worker(example):
    example.run("monolith.py", "place", "70")
    with example.locked("SELECT * FROM monolith_account FOR UPDATE"), worker(example) as killed:
        until(lambda: example.value(WAITING), "the step waits for the account")
        killed.kill()
    with worker(example):
        until(lambda: orders(example) == ["shipped"], "the order is shipped after the kill")
    assert example.value("SELECT balance FROM monolith_account") == 30


def large_order(example: Project) -> str:
    """Place an order that waits for an approval; return its id."""
    example.run("approval.py", "place", "700")
    return str(example.value("SELECT id FROM approval_order WHERE amount = 700"))


def statuses(example: Project) -> dict[int, tuple[str, str]]:
    """Return the status and the note of each order, by its amount."""
    found = example.query("SELECT amount, status, note FROM approval_order")
    return {amount: (status, note) for amount, status, note in found}


OPEN_WAIT = "SELECT count(*) FROM approval_inbox WHERE step = 'approval.review'"


@pytest.mark.parametrize("example", ["approval"], indirect=True)
def test_only_a_large_order_waits_and_its_approval_survives_the_kill_of_the_worker(example):
    large = large_order(example)
    example.run("approval.py", "place", "70")
    with worker(example) as killed:
        until(lambda: statuses(example)[70] == ("shipped", ""), "the small order is shipped")
        until(lambda: example.value(OPEN_WAIT) == 1, "the large order waits")
        killed.kill()
    assert statuses(example)[700] == ("placed", "")

    answers = [example.run("approval.py", "approve", large, note) for note in ("gift", "late")]
    assert [answer.strip() for answer in answers] == ["accepted", "repeated"]
    with worker(example):
        until(lambda: statuses(example)[700] == ("shipped", "gift"), "the large order is shipped")
    assert example.value("SELECT balance FROM approval_account") == 230


@pytest.mark.parametrize("example", ["approval"], indirect=True)
def test_an_order_that_a_person_refuses_gets_its_money_back(example):
    large = large_order(example)
    example.run("approval.py", "refuse", large)
    with worker(example):
        until(lambda: statuses(example)[700][0] == "cancelled", "the order is cancelled")
    assert example.value("SELECT balance FROM approval_account") == 1000
    assert example.value("SELECT count(*) FROM packing_parcel") == 0


@pytest.mark.parametrize("example", ["approval"], indirect=True)
def test_an_order_that_fits_into_no_parcel_gets_the_money_back_that_was_taken_meanwhile(example):
    example.run("approval.py", "place", "950")
    example.run("approval.py", "place", "40")
    with worker(example):
        until(lambda: statuses(example)[950][0] == "cancelled", "the order is cancelled")
        until(lambda: statuses(example)[40][0] == "shipped", "the other order is shipped")
    assert example.value("SELECT balance FROM approval_account") == 960
    assert example.value("SELECT count(*) FROM packing_parcel") == 1


@pytest.fixture
def carrier(example):
    """The API of the example; a function that returns how many parcels it has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    example.environ["API_PORT"] = str(port)

    def count() -> int:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return int(json.load(answer)["parcels"])
        except URLError:
            return -1

    with example.process("external_step.py", "api"):
        until(lambda: count() == 0, "the API answers")
        yield count


@pytest.mark.parametrize("example", ["external_step"], indirect=True)
def test_the_external_step_keeps_the_contract_of_the_test_kit(example):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        example.environ["API_PORT"] = str(probe.getsockname()[1])
    output = example.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_external_step.py")
    assert "6 passed" in output


def tracking_numbers(example: Project) -> list[str]:
    found = example.query("SELECT tracking_number FROM external_step_parcel")
    return sorted(number for (number,) in found)


@pytest.mark.parametrize("example", ["external_step"], indirect=True)
def test_an_external_step_whose_worker_is_killed_in_its_calls_sends_each_parcel_once(
    example, carrier
):
    example.run("external_step.py", "send", "3")
    with worker(example) as killed:
        until(lambda: carrier() > 0, "the carrier has a request")
        killed.kill()
    with worker(example):
        until(lambda: tracking_numbers(example) == ["T1", "T2", "T3"], "all parcels are sent")
    assert carrier() == 3
