"""Calls in flight: a worker's task does not wait for the outside systems that its step calls.

The task commits claim and intent, hands each request to the executor of its process, and ends. The
executor calls, with limited concurrency for each destination. A recorder thread commits the answers
as they come, and sends the next messages. Both keep their calls in memory only: if the process is
lost, another worker claims the rows and asks again. A pacer thread starts the calls that have a
limit of their own, as PostgreSQL permits.

A process that is no worker, such as a command, waits for its calls in `sagas.execution.runner`.
"""

from sagas.execution.in_flight.calls import Call, Recording
from sagas.execution.in_flight.process import (
    drain,
    note_limits,
    places,
    refuse,
    refuses,
    rooms,
    start,
    stop,
    submit,
    takes_calls,
)

__all__ = [
    "Call",
    "Recording",
    "drain",
    "note_limits",
    "places",
    "refuse",
    "refuses",
    "rooms",
    "start",
    "stop",
    "submit",
    "takes_calls",
]
