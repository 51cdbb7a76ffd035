"""Wiring: settings, URLs, the Celery app, the database router. No logic of the domain or the
engine.
"""

from config.celery import app as celery_app

__all__ = ["celery_app"]
