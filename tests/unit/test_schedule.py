"""Beat sends only tasks that workers have, to queues that workers read."""

from celery import current_app

from config.schedule import beat_schedule
from services import NAMES


def test_every_scheduled_task_is_registered() -> None:
    current_app.loader.import_default_modules()
    schedule = current_app.conf.beat_schedule
    assert set(beat_schedule()) < set(schedule)
    unknown = {entry["task"] for entry in schedule.values()} - set(current_app.tasks)
    assert unknown == set()
    queues = {entry["options"]["queue"] for entry in schedule.values()}
    assert queues == {*NAMES, "trips"}


def test_reconciliation_and_audit_are_scheduled_each_minute() -> None:
    schedule = beat_schedule()
    each_minute = {entry["task"] for entry in schedule.values() if entry["schedule"] == 60}
    assert {"payments.reconcile", "audit.check_changes"} <= each_minute
