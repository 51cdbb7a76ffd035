"""What a task was given, before anybody has validated it: for the log and for failures, which
tell of every message.
"""

from typing import Any

__all__ = ["messages_given"]

# The position of what belongs to sagas among the arguments of the tasks that are given some.
POSITIONS = {"sagas.run_step": 2, "sagas.fail_step": 2, "sagas.record": 1}


def messages_given(task: str | None, args: Any) -> list[dict[str, Any]]:
    """Return the messages, or entries, among a task's arguments: whatever is a dict where they
    stand.

    Of a task that nobody knows, Celery tells neither its name nor its arguments.
    """
    position = POSITIONS.get(task or "")
    if position is None or not isinstance(args, list | tuple) or len(args) <= position:
        return []
    found = args[position]
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
