"""How gunicorn serves the API and the admin: `gunicorn config.wsgi` finds this file, and its own
options win over it.

Requests that wait hold a thread and nothing else, so there are many threads; what they share is a
pool of connections.
"""

import os

from gunicorn.workers.gthread import ThreadWorker

worker_class = "gthread"
workers = 2
threads = 256
graceful_timeout = 10
logger_class = "config.logs.GunicornLogger"
accesslog = "-"

os.environ.setdefault("DATABASE_POOL_SIZE", "10")


def post_worker_init(worker: ThreadWorker) -> None:
    """Let requests wait on seven eighths of the threads, however many those are, and go home once
    the worker stops.

    Set here rather than in the environment: gunicorn's log has had the settings loaded before the
    worker was there.
    """
    from django.conf import settings  # noqa: PLC0415  (only now is it known whose they are)

    from api.responses.long_poller import set_stop_check  # noqa: PLC0415

    if "WAITING_PLACES" not in os.environ:
        settings.WAITING_PLACES = worker.cfg.threads * 7 // 8
    set_stop_check(lambda: not worker.alive)
