"""Capture the messages that are sent to the broker, so that a test can send them again."""

import codecs
import json
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from sagas.celery import signing
from tests.outside.harness import valkey
from tests.system.harness import SERVICES

__all__ = ["CapturedMessage", "capture", "lose", "send"]

QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class CapturedMessage(NamedTuple):
    """A message in the format of the broker."""

    queue: str
    raw: bytes

    @property
    def task(self) -> str:
        """The name of the task."""
        return str(json.loads(self.raw)["headers"]["task"])

    @property
    def args(self) -> Any:
        """The arguments of the task."""
        return self._body()[0]

    def with_args(self, args: Any) -> "CapturedMessage":
        """Return the message with other arguments, signed as one of our processes would sign it."""
        envelope = json.loads(self.raw)
        _, *rest = self._body()
        body = [args, *rest]
        signing.sign(envelope["headers"], body)
        envelope["body"] = b64encode(json.dumps(body).encode()).decode()
        return CapturedMessage(self.queue, json.dumps(envelope).encode())

    def _body(self) -> Any:
        return json.loads(b64decode(json.loads(self.raw)["body"]))


def send(*messages: CapturedMessage) -> None:
    """Send messages to their queues again."""
    with valkey() as client:
        for message in messages:
            client.lpush(message.queue, message.raw)


def lose(step: str, messages: Sequence[CapturedMessage]) -> list[CapturedMessage]:
    """Remove the messages to a step from their queues, and return them."""
    sent_to_step = [
        sent for sent in messages if sent.task == "sagas.run_step" and sent.args[0] == step
    ]
    with valkey() as client:
        return [sent for sent in sent_to_step if client.lrem(sent.queue, 1, sent.raw.decode())]


@contextmanager
def capture() -> Iterator[list[CapturedMessage]]:
    """Capture the messages to the services while the context lasts."""
    with redis.Redis(connection_pool=valkey().connection_pool) as client:
        line = client.connection_pool.get_connection()
        line.send_command("MONITOR")
        line.read_response()
        found: list[CapturedMessage] = []
        closing = threading.Event()
        thread = threading.Thread(target=_listen, args=(line, found, closing))
        thread.start()

        try:
            yield found
        finally:
            closing.set()
            thread.join()
            line.disconnect()


def _listen(line: Any, found: list[CapturedMessage], closing: threading.Event) -> None:
    while not closing.is_set():
        if not line.can_read(timeout=0.1):
            continue

        command, *arguments = QUOTED.findall(line.read_response(disable_decoding=True))
        if command.upper() == b"LPUSH" and (queue := arguments[0].decode()) in SERVICES:
            found.append(CapturedMessage(queue, codecs.escape_decode(arguments[1])[0]))
