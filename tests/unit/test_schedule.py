"""Beat sends only tasks that workers have, to queues that workers read."""

from celery import current_app

from config.schedule import SERVICES, beat_schedule


def test_every_scheduled_task_is_registered() -> None:
    current_app.loader.import_default_modules()
    schedule = beat_schedule(flush_seconds=1.0, stall_seconds=30.0)
    unknown = {entry["task"] for entry in schedule.values()} - set(current_app.tasks)
    assert unknown == set()
    assert {entry["options"]["queue"] for entry in schedule.values()} <= set(SERVICES)


def test_reconciliation_and_audit_are_scheduled_each_minute() -> None:
    schedule = beat_schedule(flush_seconds=1.0, stall_seconds=30.0)
    each_minute = {entry["task"] for entry in schedule.values() if entry["schedule"] == 60}
    assert {"payments.reconcile", "audit.check_changes"} <= each_minute
