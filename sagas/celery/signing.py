"""Signed messages: with SAGA_SIGNING_KEYS set, a worker takes nothing from the broker that no
process of ours sent.

Signed are the task, its id and whatever steers it, and the body with all that Celery would send on
from it: callbacks, error callbacks, the rest of its chain. They are checked before Celery makes
anything of the message, so that no part of a forged one is ever run, or published, and so signed,
by us. A message that was sent once can be sent again by whoever reads the broker: the inbox takes
care of that.
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
SALT = "sagas.celery.signing"

# What Celery does with a message depends on these as well.
STEERING = (
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

# Celery registers tasks of its own in every app. We use one: beat has it forget old failures.
USED_BUILTINS = frozenset({"celery.backend_cleanup"})

Handler = Callable[..., None]


class GuardedTask(Task):
    """A task whose messages are checked before Celery makes requests of them, if there is a key."""

    abstract = True
    Strategy = "sagas.celery.signing:strategy"


def strategy(task: Task, app: Celery, consumer: Any) -> Handler:
    """Return what the worker does with the messages of a task. Celery asks for it once for each
    task.
    """
    from celery.worker.strategy import default  # noqa: PLC0415  only a worker needs what that loads

    handle: Handler = default(task, app, consumer)
    if not settings.SAGA_SIGNING_KEYS:
        return handle

    def check(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        if _is_ours(message, body):
            handle(message, body, ack, reject, callbacks)
            return
        identity = message.headers.get("id")
        logger.error(
            "A message to run %s, id %.80r, is not signed by us: discarded.", task.name, identity
        )
        reject(logger, consumer.connection_errors, False)

    return check


def guard(app: Celery) -> None:
    """Close what a stranger with access to the broker could use of Celery's own. Once, when the
    app is made.
    """
    app.on_after_finalize.connect(_drop_unused_builtins, weak=False)
    signals.before_task_publish.connect(_sign, dispatch_uid="sagas.celery.signing", weak=False)
    signals.worker_init.connect(_listen_to_nobody, dispatch_uid="sagas.celery.signing", weak=False)


def _sign(headers: dict[str, Any], body: Any, **_: Any) -> None:
    keys: Sequence[str] = settings.SAGA_SIGNING_KEYS
    if keys:
        headers[HEADER] = _signature(headers, body, keys[0])


def _is_ours(message: Any, body: Any) -> bool:
    """Tell whether a message bears a signature of one of our keys. One of Celery's old protocol
    has a body here.
    """
    given = message.headers.get(HEADER)
    if body is not None or not isinstance(given, str):
        return False
    try:
        valid = [
            _signature(message.headers, message.payload, key) for key in settings.SAGA_SIGNING_KEYS
        ]
    except (
        RecursionError,
        TypeError,
        ValueError,
    ):  # what cannot be written as JSON was not written by us
        return False
    return any(hmac.compare_digest(given.encode(), signature.encode()) for signature in valid)


def _signature(headers: Mapping[str, Any], body: Any, key: str) -> str:
    """Return the signature of a message: of its JSON, which reads back and writes again to the
    same text.
    """
    text = dumps([[headers.get(name) for name in STEERING], body])
    return Signer(key=key, salt=SALT).signature(text)


def _drop_unused_builtins(sender: Celery, **_: Any) -> None:
    for name in [
        name for name in sender.tasks if name.startswith("celery.") and name not in USED_BUILTINS
    ]:
        sender.tasks.unregister(name)


def _listen_to_nobody(sender: Any, **_: Any) -> None:
    """Keep the worker from talking with others: an election, in gossip, has it publish any task
    it is told to.
    """
    sender.options |= {"without_gossip": True, "without_mingle": True}
