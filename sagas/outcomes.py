"""The outcomes that a step may return besides an event or a refusal, and their type."""

from sagas.definition.events import Notice, WaitNotice
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting

__all__ = ["Notice", "Outcome", "Retry", "Unknown", "WaitNotice", "Waiting"]
