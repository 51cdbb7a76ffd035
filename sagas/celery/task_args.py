"""The messages in a task's arguments, read without validation: for logs and stored failures."""

from typing import Any

__all__ = ["messages_from_args"]

# Position of the messages, or timeline entries, in the arguments of each task that has some.
POSITIONS = {"sagas.run_step": 2, "sagas.fail_step": 2, "sagas.record": 1}


def messages_from_args(task: str | None, args: Any) -> list[dict[str, Any]]:
    """Return each message, or timeline entry, in a task's arguments. Ignore items that are no dict.

    Celery gives neither name nor arguments of a task that this process does not know.
    """
    position = POSITIONS.get(task or "")
    if position is None or not isinstance(args, list | tuple) or len(args) <= position:
        return []

    messages = args[position]
    if not isinstance(messages, list):
        return []
    return [message for message in messages if isinstance(message, dict)]
