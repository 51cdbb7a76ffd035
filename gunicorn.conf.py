"""Gunicorn's configuration for the API and the admin.

`gunicorn config.wsgi` finds this file, and its command-line options override it. There are many
threads, because a waiting request holds a thread, but no database connection. The threads of a
process share a pool of connections. A slow client holds no thread (`config/server.py`).
"""

import os

from gunicorn.workers.gthread import ThreadWorker

worker_class = "config.server.BufferingWorker"
workers = 2
threads = 256
worker_connections = 2000
graceful_timeout = 10
logger_class = "config.logs.GunicornLogger"
accesslog = "-"

os.environ.setdefault("DATABASE_POOL_SIZE", "10")


def post_worker_init(worker: ThreadWorker) -> None:
    """Let requests wait on at most seven eighths of the threads, and until the worker stops.

    It changes the settings, not the environment, because gunicorn's logger has loaded the settings
    before the worker starts. It loads the URLs, because otherwise each of many first requests would
    load them, which takes seconds.
    """
    from django.conf import settings  # noqa: PLC0415  (after the environment is complete)
    from django.urls import reverse  # noqa: PLC0415

    from api.responses.long_poller import set_stop_check  # noqa: PLC0415

    if "WAITING_PLACES" not in os.environ:
        settings.WAITING_PLACES = worker.cfg.threads * 7 // 8
    set_stop_check(lambda: not worker.alive)
    reverse("healthz")
