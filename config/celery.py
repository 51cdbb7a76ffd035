"""The Celery app.

Start beat with `celery -A config beat`, and a worker of every queue with
`celery -A config worker -Q orders,payments,inventory,returns`.
"""

import os

from celery import Celery

from sagas.celery import configure

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
configure(app)
app.autodiscover_tasks()
