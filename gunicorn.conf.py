"""How gunicorn serves the API and the admin: `gunicorn config.wsgi` finds this file, and its own options win over it.

Requests that wait hold a thread and nothing else, so there are many threads; what they share is a pool of connections.
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


def post_fork(server: object, worker: ThreadWorker) -> None:
    """Let requests wait on seven eighths of the threads, however many those are."""
    os.environ.setdefault("WAITING_PLACES", str(worker.cfg.threads * 7 // 8))


def post_worker_init(worker: ThreadWorker) -> None:
    """Send home whoever waits, once the worker is told to stop."""
    from api.waiting import stop_when  # noqa: PLC0415  (only now are the settings there)

    stop_when(lambda: not worker.alive)
