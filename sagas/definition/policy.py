"""The policy of a step: how often it is tried, with which pauses, and how many messages it takes.

A policy belongs to the registered step, not to the plan. So a deploy changes it for the sagas that
are under way, too.
"""

import msgspec

from sagas import backoff
from sagas.conf import settings

__all__ = ["DEFAULT_POLICY", "Backoff", "Policy"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """The pauses after failed attempts, in seconds.

    The pause is `first` after the first attempt. It doubles with each attempt, up to `longest`. The
    engine draws each pause between half of that and all of it.
    """

    # The first retry comes soon, because most faults are short. The longest pause limits how late
    # a saga ends once a fault is over.
    first: float = 1.0
    longest: float = 60.0

    def pause(self, attempt: int) -> float:
        """Return the seconds between failed attempt number `attempt` and the next one."""
        seconds = backoff.exponential(attempt, first=self.first, longest=self.longest)
        return backoff.jittered(seconds)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a step. None stands for the engine's setting or the step's default.

    `tries`: the attempts after which the step is given up, is skipped, or calls for attention
    (default: SAGA_STEP_ATTEMPTS). `most_in_batch`: the most messages of one run (default:
    OUTBOX_BATCH_SIZE, which is also the upper limit). `budget`: seconds for the answer to one call
    in flight (default: `ExternalStep.budget`).
    """

    tries: int | None = None
    backoff: Backoff = Backoff()
    most_in_batch: int | None = None
    budget: float | None = None

    @property
    def most_tries(self) -> int:
        """The number of attempts after which the step is at its limit."""
        return settings.STEP_ATTEMPTS if self.tries is None else self.tries

    @property
    def batch_size(self) -> int:
        """The most messages of one run."""
        return min(settings.BATCH_SIZE, self.most_in_batch or settings.BATCH_SIZE)


DEFAULT_POLICY = Policy()
