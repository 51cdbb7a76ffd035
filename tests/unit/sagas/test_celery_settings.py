"""Each Celery setting that prevents a failure is checked, and the failure is named."""

import pytest
from celery import Celery, current_app

from config.celery import app
from sagas.checks.celery_settings import findings
from sagas.checks.registration import check_celery

OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 1,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "retry_on_timeout": False,
}


def without(name):
    return {key: value for key, value in OPTIONS.items() if key != name}


@pytest.mark.parametrize(
    ("setting", "wrong", "id_", "hint"),
    [
        ("broker_transport", "redis", "sagas.E041", "unreadable message"),
        ("broker_transport", None, "sagas.E041", "unreadable message"),
        ("result_backend", "django-db", "sagas.E042", "blocks the workers"),
        ("task_serializer", "pickle", "sagas.E043", "only JSON"),
        ("accept_content", ["json", "pickle"], "sagas.E044", "any code"),
        ("accept_content", [], "sagas.E044", "any code"),
        ("task_acks_late", False, "sagas.E045", "is lost"),
        ("task_reject_on_worker_lost", True, "sagas.E046", "kills the next"),
        ("task_ignore_result", False, "sagas.E047", "one row for each task"),
        ("task_store_errors_even_if_ignored", False, "sagas.E048", "no failed task"),
        ("task_publish_retry", True, "sagas.E049", "blocks requests"),
        ("worker_prefetch_multiplier", 4, "sagas.E050", "other workers are idle"),
        ("CELERY_DB_REUSE_MAX", None, "sagas.E051", "closes the database connections"),
        ("task_time_limit", None, "sagas.E052", "occupies its worker"),
        ("task_soft_time_limit", 50, "sagas.E053", "record its failure"),
        ("task_soft_time_limit", None, "sagas.E053", "record its failure"),
        ("broker_connection_retry_on_startup", False, "sagas.E054", "exits"),
        ("broker_connection_max_retries", 100, "sagas.E055", "ends the workers"),
        ("broker_channel_error_retry", False, "sagas.E056", "out of memory"),
        ("task_retry_on_worker_lost", False, "sagas.E057", "re-driven"),
        ("result_extended", False, "sagas.E058", "its saga"),
        ("broker_transport_options", without("socket_timeout"), "sagas.E059", "blocks requests"),
        (
            "broker_transport_options",
            without("socket_connect_timeout"),
            "sagas.E059",
            "blocks requests",
        ),
        (
            "broker_transport_options",
            without("unacked_restore_interval"),
            "sagas.E060",
            "killed worker",
        ),
        ("broker_transport_options", {**OPTIONS, "retry_on_timeout": True}, "sagas.E061", "twice"),
        ("broker_transport_options", without("visibility_timeout"), "sagas.E020", "second worker"),
        (
            "broker_transport_options",
            {**OPTIONS, "visibility_timeout": 50},
            "sagas.E020",
            "second worker",
        ),
        ("task_default_queue", "celery", "sagas.E062", "no worker receives"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_an_error(monkeypatch, setting, wrong, id_, hint):
    monkeypatch.setitem(current_app.conf.changes, setting, wrong)
    (found,) = check_celery(None)
    assert found.id == id_
    assert hint in (found.hint or "")


def test_an_app_whose_tasks_are_not_guarded_is_an_error(monkeypatch):
    monkeypatch.setattr(app, "task_cls", "celery.app.task:Task")
    (found,) = check_celery(None)
    assert found.id == "sagas.E040"
    assert "signature" in (found.hint or "")


def test_two_tasks_of_one_name_are_an_error():
    """Celery keeps the first one, and only warns."""
    twice = Celery("twice", set_as_current=False)

    def count():
        return 1

    def count_otherwise():
        return 2

    for function in (count, count_otherwise):
        twice.task(name="orders.count", shared=False)(function)
    with pytest.warns(Warning, match=r"orders\.count"):
        (found,) = (one for one in findings(twice) if one.id == "sagas.E063")
    assert "'orders.count'" in found.text
    assert not [one for one in findings(app) if one.id == "sagas.E063"]
