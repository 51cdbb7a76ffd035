"""The engine in Celery. `configure(app)` sets a Celery app up for it."""

from sagas.celery.configuration import beat_schedule, configure

__all__ = ["beat_schedule", "configure"]
