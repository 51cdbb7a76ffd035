"""Signed messages: a worker accepts only messages that a process with one of our keys has sent.

`SAGA_SIGNING_KEYS` turns this on. A signature covers the task, its id, the headers that steer it,
and the body. The body includes all that Celery would send next: callbacks, error callbacks and the
rest of the chain. The worker checks the signature before Celery creates a request, so it neither
runs nor forwards any part of a forged message. A reader of the broker can still send a captured
message again; the inbox ignores such copies.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery, Task, signals
from django.conf import settings
from django.core.signing import Signer
from kombu.utils.json import dumps

__all__ = ["USED_BUILTINS", "GuardedTask", "guard"]

logger = logging.getLogger(__name__)

HEADER = "saga_signature"

# The salt is part of the signature, so every release must keep it.
SALT = "sagas.signing"

# The headers that change what Celery does with a message.
SIGNED_HEADERS = (
    "task",
    "id",
    "retries",
    "eta",
    "expires",
    "timelimit",
    "group",
    "ignore_result",
    "stamps",
)

# Celery registers tasks of its own in every app. The project uses one: with it, beat deletes old
# failures.
USED_BUILTINS = frozenset({"celery.backend_cleanup"})

MessageHandler = Callable[..., None]


class GuardedTask(Task):
    """A task whose messages are checked before Celery creates requests, if a signing key is set."""

    abstract = True
    Strategy = "sagas.celery.signing:strategy"


def strategy(task: Task, app: Celery, consumer: Any) -> MessageHandler:
    """Return the worker's handler of a task's messages. Celery calls this once for each task."""
    from celery.worker.strategy import default  # noqa: PLC0415  only a worker loads this

    handle: MessageHandler = default(task, app, consumer)
    if not settings.SAGA_SIGNING_KEYS:
        return handle

    def check(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        if _has_valid_signature(message, body):
            handle(message, body, ack, reject, callbacks)
            return

        logger.error(
            "Discarded a message for task %s, id %.80r: its signature is missing or wrong."
            " Compare SAGA_SIGNING_KEYS of all processes; if they agree, the message was forged.",
            task.name,
            message.headers.get("id"),
        )
        reject(logger, consumer.connection_errors, False)

    return check


def guard(app: Celery) -> None:
    """Sign what this app sends, and close the ways past the check. Call it once for each app."""
    app.on_after_finalize.connect(_drop_unused_builtins, weak=False)
    signals.before_task_publish.connect(_sign, dispatch_uid="sagas.celery.signing", weak=False)
    signals.worker_init.connect(_disable_gossip, dispatch_uid="sagas.celery.signing", weak=False)


def _sign(headers: dict[str, Any], body: Any, **_: Any) -> None:
    keys: Sequence[str] = settings.SAGA_SIGNING_KEYS
    if keys:
        headers[HEADER] = _signature(headers, body, keys[0])


def _has_valid_signature(message: Any, body: Any) -> bool:
    """Check a message against all keys. Messages of Celery's old protocol, which have a body here,
    are never valid.
    """
    given = message.headers.get(HEADER)
    if body is not None or not isinstance(given, str):
        return False
    try:
        valid = [
            _signature(message.headers, message.payload, key) for key in settings.SAGA_SIGNING_KEYS
        ]
    except (RecursionError, TypeError, ValueError):  # not JSON, so not from one of our processes
        return False
    return any(hmac.compare_digest(given.encode(), signature.encode()) for signature in valid)


def _signature(headers: Mapping[str, Any], body: Any, key: str) -> str:
    """Sign the JSON text of a message, which stays the same when decoded and encoded again."""
    text = dumps([[headers.get(name) for name in SIGNED_HEADERS], body])
    return Signer(key=key, salt=SALT).signature(text)


def _drop_unused_builtins(sender: Celery, **_: Any) -> None:
    unused = [
        name for name in sender.tasks if name.startswith("celery.") and name not in USED_BUILTINS
    ]
    for name in unused:
        sender.tasks.unregister(name)


def _disable_gossip(sender: Any, **_: Any) -> None:
    """Stop the worker from listening to other workers. With gossip, an election makes a worker
    publish any task that its sender names.
    """
    sender.options |= {"without_gossip": True, "without_mingle": True}
