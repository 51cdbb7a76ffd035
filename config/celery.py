"""The Celery app.

Start it with `celery -A config worker -Q orders,payments,inventory` and `celery -A config beat`.
"""

import os

from celery import Celery

from sagas.celery.signing import guard

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("config", task_cls="sagas.celery.signing:GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["sagas.celery"])
guard(app)
