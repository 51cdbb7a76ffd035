"""The heartbeats of workers and of beat: the queues that are served, and the steps known there."""

from sagas.operations.heartbeats import (
    DEAD_AFTER,
    WorkerHeartbeat,
    recent_heartbeats,
    seconds_since_beat,
)

__all__ = ["DEAD_AFTER", "WorkerHeartbeat", "recent_heartbeats", "seconds_since_beat"]
