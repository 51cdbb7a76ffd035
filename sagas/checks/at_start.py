"""Run all checks when a process starts, and stop it if one fails.

Django runs its checks only in `manage.py`. Celery runs them too, but ignores their result.
"""

import logging
from typing import Any

from celery import current_app, signals
from django.core.checks import CheckMessage, run_checks

from sagas.operations import diagnosis

__all__ = ["EXIT_CODE", "connect", "look_at_servers", "refuse_to_start"]

logger = logging.getLogger(__name__)

# Gunicorn stops for good if a worker process exits with this code at its start. After any other
# code it would start the next worker, and so on for ever.
# https://github.com/benoitc/gunicorn/blob/master/gunicorn/arbiter.py
EXIT_CODE = 3


def connect() -> None:
    """Check Celery's workers and beat when they start."""
    signals.worker_init.connect(_check_worker, weak=False)
    signals.beat_init.connect(_check_beat, weak=False)


def refuse_to_start(process: str) -> None:
    """Exit the process if a check finds an error. Log one line for each error and each warning.

    `process` names it in the log. SILENCED_SYSTEM_CHECKS names checks to leave out, as usual.
    """
    found = [message for message in run_checks() if not message.is_silenced()]
    for message in found:
        logger.log(_level(message), "%s: %s %s", message.id, message.msg, message.hint or "")

    errors = [message for message in found if message.is_serious()]
    if errors:
        logger.critical(
            "The %s does not start, because of the errors logged above: %s."
            " Correct them and start it again. `manage.py check` lists them too.",
            process,
            ", ".join(sorted({str(message.id) for message in errors})),
        )
        raise SystemExit(EXIT_CODE)


def look_at_servers(process: str) -> None:
    """Look once at the databases and the broker. Log one line for each problem.

    Exit the process if waiting cannot mend one, such as a table that is missing. A server that is
    away is no reason: the process goes on, because an outage ends.
    """
    problems = [*diagnosis.database_problems(), *diagnosis.broker_problems(current_app)]
    for problem in problems:
        logger.log(logging.CRITICAL if problem.is_final else logging.ERROR, "%s", problem)

    if any(problem.is_final for problem in problems):
        logger.critical(
            "The %s does not start, because of the errors logged above."
            " `manage.py sagas_doctor` lists them too.",
            process,
        )
        raise SystemExit(EXIT_CODE)


def _check_worker(**_: Any) -> None:
    refuse_to_start("worker")
    look_at_servers("worker")


def _check_beat(**_: Any) -> None:
    refuse_to_start("beat")
    for problem in diagnosis.broker_problems(current_app):
        logger.error("%s", problem)


def _level(message: CheckMessage) -> int:
    """Return the level of the log line. Django's levels have the numbers of `logging`."""
    return logging.CRITICAL if message.is_serious() else message.level
