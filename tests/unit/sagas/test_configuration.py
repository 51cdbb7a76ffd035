"""`sagas.celery.configure` gives a Celery app all that the engine relies on, and no more."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from celery import Celery, signals
from celery.contrib.django.task import DjangoTask
from django.apps import apps
from django.conf import settings
from django.core.checks import run_checks
from kombu import Queue

from config.celery import app as celery_app
from sagas.celery import beat_schedule, configure
from sagas.celery.configuration import DEFAULTS
from sagas.celery.signing import GuardedTask
from sagas.checks import beat, celery_settings, registration
from sagas.checks.registration import check_settings
from sagas.operations import diagnosis, heartbeats
from services import NAMES


@pytest.fixture
def app():
    """Return an app of a project that configures only its broker, as in the quickstart."""
    app = Celery("shop", set_as_current=False, broker="redis://localhost:6379/0")
    yield app
    app.close()


def faults(app):
    return [found.id for check in (celery_settings, beat) for found in check.findings(app)]


def test_an_app_that_is_configured_passes_every_check(app):
    assert len(faults(Celery("bare", set_as_current=False))) > 20
    configure(app)
    assert faults(app) == []


def test_a_worker_without_options_reads_the_queue_of_every_service(app):
    configure(app)
    assert set(app.amqp.queues.consume_from) == {"celery", *SERVICES}


def test_beat_sends_every_service_and_home_its_periodic_tasks(app):
    configure(app)
    sent = {(each["task"], *each.get("args", ())) for each in app.conf.beat_schedule.values()}
    assert sent == {
        *((task,) for task in OF_APPS.values()),
        *((task, name) for task in ("sagas.flush", "sagas.release_held") for name in SERVICES),
        *((task, name) for task in ("sagas.rescue", "sagas.purge_ended") for name in HOMES),
    }


# The tasks that the apps declare in their AppConfig.
OF_APPS = {
    "console-work": "console.work",
    "console-purge": "console.purge",
    "verify-log": "staff.verify_log",
}
SERVICES = (*NAMES, "trips")
HOMES = ("orders", "returns", "trips")


class OfTheProject:
    CELERY_TASK_TIME_LIMIT = 3600
    CELERY_WORKER_PREFETCH_MULTIPLIER = 4
    CELERY_TASK_QUEUES = (Queue("one"),)
    CELERY_BEAT_SCHEDULE: ClassVar = {
        "mine": {"task": "sagas.flush", "schedule": 9.0, "args": ("orders",), "options": {}}
    }


@pytest.mark.parametrize("is_read_first", [False, True])
def test_the_settings_and_entries_of_the_project_win(app, is_read_first):
    app.config_from_object(OfTheProject, namespace="CELERY")
    if is_read_first:
        assert app.conf.task_acks_late is False  # Celery has read the settings by now
    configure(app)
    assert (app.conf.task_time_limit, app.conf.worker_prefetch_multiplier) == (3600, 4)
    assert app.conf.task_acks_late is True
    assert app.conf.task_soft_time_limit == 2880
    assert app.conf.broker_transport_options["visibility_timeout"] == 4320
    assert app.conf.task_queues == OfTheProject.CELERY_TASK_QUEUES
    mine = OfTheProject.CELERY_BEAT_SCHEDULE
    assert set(app.conf.beat_schedule) == {*mine, *beat_schedule(), *OF_APPS} - {"flush-orders"}
    assert "sagas.E050" in faults(app)  # and the check says that it breaks a promise


def celery_settings_of_this_project():
    names = {name for name in dir(settings) if name.startswith("CELERY_")}
    names -= {"CELERY_BEAT_SCHEDULE"}  # the engine adds its tasks
    return {name.removeprefix("CELERY_").lower(): getattr(settings, name) for name in names}


def test_every_celery_setting_of_this_project_and_of_the_engine_is_in_force():
    expected = DEFAULTS | celery_settings_of_this_project()
    assert len(expected) > 20
    for name, value in expected.items():
        assert celery_app.conf[name] == value, name


def test_this_project_sets_a_default_of_the_engine_again_only_where_the_environment_decides():
    own = celery_settings_of_this_project()
    repeated = {name for name in own.keys() & DEFAULTS if own[name] == DEFAULTS[name]}
    assert repeated == {
        "task_time_limit",
        "task_soft_time_limit",
        "worker_enable_remote_control",
    }


def test_settings_of_a_wrong_type_are_left_to_the_check(app, settings):
    settings.SAGAS = {"STALL_SECONDS": "3"}
    configure(app)
    assert "sagas.E025" in faults(app)
    settings.SAGAS = ["STALL_SECONDS"]
    (error,) = check_settings(None)
    assert (error.id, error.msg) == (
        "sagas.E069",
        "SAGAS is of the type list, but it must be a dict.",
    )


def test_an_app_that_is_not_configured_is_one_fault_that_says_how(monkeypatch):
    monkeypatch.setattr(registration, "current_app", Celery("bare", set_as_current=False))
    (error,) = registration.check_celery(None)
    assert error.id == "sagas.E040"
    assert "sagas.celery.configure(app)" in str(error.hint)


def test_a_worker_without_the_engine_among_its_apps_does_not_start(app, monkeypatch, caplog):
    configure(app)
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "sagas")
    with pytest.raises(SystemExit):
        signals.worker_init.send(sender=None)
    assert '"sagas" is not in INSTALLED_APPS' in caplog.text
    assert "sagas.E112" in [message.id for message in run_checks()]


def test_without_the_settings_of_django_the_error_names_the_line_that_is_missing():
    code = "from celery import Celery; from sagas.celery import configure; configure(Celery('a'))"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert 'os.environ.setdefault("DJANGO_SETTINGS_MODULE"' in done.stderr.splitlines()[-1]


def test_an_app_without_the_table_of_failed_tasks_is_one_fault(app, monkeypatch):
    configure(app)
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django_celery_results")
    assert faults(app) == ["sagas.E110"]


def test_an_app_without_a_broker_is_a_fault_and_is_not_asked(monkeypatch):
    app = Celery("shop", set_as_current=False)
    configure(app)
    assert faults(app) == ["sagas.E111"]
    assert not list(diagnosis.broker_problems(app))

    monkeypatch.setattr(heartbeats, "current_app", app)
    monkeypatch.setattr(heartbeats, "settings", SimpleNamespace(REDIS_URL=""))
    heartbeats._redis.cache_clear()
    (problem,) = diagnosis.worker_problems(app)
    assert "neither REDIS_URL nor CELERY_BROKER_URL is set" in str(problem)


@pytest.mark.parametrize(("queue", "number"), [("celery", 0), ("orders", 1)])
def test_the_tasks_of_other_apps_need_a_worker_on_the_default_queue(
    app, monkeypatch, queue, number
):
    """`sagas_doctor` names a worker for each service. The console's tasks are in no such queue."""
    configure(app)
    worker = heartbeats.WorkerHeartbeat("a", [*SERVICES, queue], 1, 0.0)
    monkeypatch.setattr(heartbeats, "recent_heartbeats", lambda: [worker])
    found = list(map(str, diagnosis.worker_problems(app)))
    assert len(found) == number
    assert all("'celery', so these tasks never run: console.purge," in text for text in found)


def test_an_app_with_a_task_is_refused_because_its_messages_would_run_unchecked(app):
    @app.task(lazy=False, shared=False)
    def early(): ...

    with pytest.raises(RuntimeError, match="too late"):
        configure(app)


def test_tasks_of_the_project_keep_the_methods_that_celery_adds_for_django(app):
    configure(app)

    @app.task(shared=False)
    def own(): ...

    assert isinstance(own, DjangoTask)
    assert isinstance(own, GuardedTask)


def test_a_task_class_of_the_project_stays_and_the_check_says_so():
    class Own(DjangoTask):
        abstract = True

    app: Any = Celery("shop", set_as_current=False, task_cls=Own, broker="redis://localhost")
    configure(app)
    assert faults(app) == ["sagas.E040"]
