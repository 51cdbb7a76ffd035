"""Signed messages: a worker accepts only messages that a process with one of our keys has sent.

SAGA_SIGNING_KEYS has the keys. Without it, one key is derived from SECRET_KEY, and others that are
accepted from SECRET_KEY_FALLBACKS. A signature covers the task, its id, the headers that steer it,
and the body. The body includes all that Celery would send next: callbacks, error callbacks and the
rest of the chain. The worker checks the signature before Celery creates a request, so it neither
runs nor forwards any part of a forged message. `sagas.celery.consumer` does the same for tasks that
the worker does not know. A reader of the broker can still send a captured message again: see
docs/security.md.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from celery import Celery, Task, signals
from celery.contrib.django.task import DjangoTask
from django.conf import settings as django_settings
from django.core.signing import Signer
from django.utils.crypto import salted_hmac
from kombu.exceptions import DecodeError

from sagas.celery import rounds, serializer
from sagas.conf import settings

__all__ = [
    "DERIVED",
    "USED_BUILTINS",
    "GuardedTask",
    "guard",
    "has_valid_signature",
    "log_discarded",
    "sign",
    "signing_keys",
]

logger = logging.getLogger(__name__)

HEADER = "saga_signature"

# The salt is part of the signature, so every release must keep it.
SALT = "sagas.signing"

# In SAGA_SIGNING_KEYS, this word stands for the keys that are derived from SECRET_KEY.
DERIVED = "derived"

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


class GuardedTask(DjangoTask):
    """A task whose messages are checked before Celery creates requests."""

    abstract = True
    Strategy = "sagas.celery.signing:strategy"

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send the task, or return None if it is a round of beat and the one before still waits.

        Beat alone passes a producer. A retry has the headers of its round too, and is always sent.
        """
        name, producer = rounds.round_of(options.get("headers")), options.get("producer")
        if name and producer and not rounds.note(name, producer):
            return None
        return super().apply_async(*args, **options)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Let beat send the next round from now on."""
        name = rounds.round_of(self.request.headers)
        if name:
            rounds.begin(name)


def strategy(task: Task, app: Celery, consumer: Any) -> MessageHandler:
    """Return the worker's handler of a task's messages. Celery calls this once for each task."""
    from celery.worker.strategy import default  # noqa: PLC0415  only a worker loads this

    handle: MessageHandler = default(task, app, consumer)

    def check(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        if has_valid_signature(message, body):
            handle(message, body, ack, reject, callbacks)
        else:
            log_discarded(message, task.name)
            reject(logger, consumer.connection_errors, False)

    return check


def guard(app: Celery) -> None:
    """Sign what this app sends, and close the ways past the check. Call it once for each app."""
    app.conf.worker_consumer = "sagas.celery.consumer:Consumer"
    app.on_after_finalize.connect(_drop_unused_builtins, weak=False)
    signals.before_task_publish.connect(sign, dispatch_uid="sagas.celery.signing", weak=False)
    signals.worker_init.connect(_prepare_worker, dispatch_uid="sagas.celery.signing", weak=False)


def signing_keys() -> list[str]:
    """Return the keys of this process. The first signs, and all are accepted."""
    given: Sequence[str] = settings.SIGNING_KEYS or [DERIVED]
    derived = _derived_keys(django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    return [key for name in given for key in (derived if name == DERIVED else (name,))]


@cache
def _derived_keys(*secrets: str) -> tuple[str, ...]:
    """Derive a key from each secret, so that a signature says nothing about Django's own ones."""
    return tuple(
        salted_hmac(SALT, "key of the broker's messages", secret, algorithm="sha256").hexdigest()
        for secret in secrets
    )


def sign(headers: dict[str, Any], body: Any, **_: Any) -> None:
    """Add the signature of a message to its headers. Celery calls this before it sends one."""
    headers[HEADER] = _signature(_signed_text(headers, body), signing_keys()[0])


def log_discarded(message: Any, task_name: object) -> None:
    """Log that a message without a valid signature is discarded. Its sender may be a stranger."""
    logger.error(
        "Discarded a message for task %.80s, id %.80r: its signature is missing or wrong."
        " Compare SECRET_KEY and SAGA_SIGNING_KEYS of all processes; if they agree, the message"
        " was forged. Its delivery tag is %.80r, and its body begins with %.100r.",
        task_name,
        message.headers.get("id"),
        message.delivery_tag,
        (message.body or b"")[:100],
    )


def has_valid_signature(message: Any, body: Any) -> bool:
    """Check a message against all keys. Messages of Celery's old protocol, which have a body here,
    are never valid. Messages without any signature are, while SAGA_ACCEPT_UNSIGNED is on.
    """
    if body is not None:
        return False

    given = message.headers.get(HEADER)
    if given is None:
        return bool(settings.ACCEPT_UNSIGNED)
    if not isinstance(given, str):
        return False
    try:
        text = _signed_text(message.headers, message.payload)
    except (DecodeError, RecursionError, TypeError, ValueError):  # not from one of our processes
        return False
    return any(
        hmac.compare_digest(given.encode(), _signature(text, key).encode())
        for key in signing_keys()
    )


def _signed_text(headers: Mapping[str, Any], body: Any) -> str:
    """Return the JSON text of a message, which stays the same when decoded and encoded again."""
    return serializer.lasting_text([[headers.get(name) for name in SIGNED_HEADERS], body])


def _signature(text: str, key: str) -> str:
    return Signer(key=key, salt=SALT).signature(text)


def _drop_unused_builtins(sender: Celery, **_: Any) -> None:
    unused = [
        name for name in sender.tasks if name.startswith("celery.") and name not in USED_BUILTINS
    ]
    for name in unused:
        sender.tasks.unregister(name)


def _prepare_worker(sender: Any, **_: Any) -> None:
    """Stop the worker from listening to other workers. With gossip, an election makes a worker
    publish any task that its sender names.
    """
    if settings.ACCEPT_UNSIGNED:
        logger.warning(
            "This worker accepts messages without a signature, because SAGA_ACCEPT_UNSIGNED is on."
            " Turn it off once no process of the release before is left."
        )
    sender.options |= {"without_gossip": True, "without_mingle": True}
