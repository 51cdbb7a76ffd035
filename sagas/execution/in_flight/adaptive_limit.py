"""The limit of calls at once to one destination: it rises while answers come, and falls on trouble.

Slow start, additive increase and multiplicative decrease, as in TCP's congestion control, in rounds
of as many answers as the limit: https://www.rfc-editor.org/rfc/rfc5681#section-3.1
"""

import math

__all__ = ["FIRST", "AdaptiveLimit"]

# The limit of a destination that this process has not called yet.
FIRST = 16

# A round has too many failures from this share of the limit on, and never below this number, unless
# all of them fail. A few calls that hang among many that succeed do not lower the limit.
FAILURE_SHARE = 0.1
FEWEST_FAILURES = 2

# The limit doubles in each round up to the threshold of slow start. Above it, it rises by an
# eighth.
RISE = 8


class AdaptiveLimit:
    """A limit between 1 and `most`. It is not safe for threads: its destination has the lock."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.value = min(FIRST, most)
        self._threshold = most
        self._before = most  # before the last decrease that followed a success
        self._expected = most
        # Whether a call has succeeded since the last decrease. The first one always sets the
        # threshold.
        self._has_success = True
        self._lowered_at = -math.inf
        self._begin_round()

    @property
    def expected(self) -> int:
        """The limit to expect soon, if answers come.

        After a silence, it is the limit of before the silence. After failures among answers, it is
        the threshold.
        """
        return max(self.value, self._expected)

    def note(self, *, failed: bool, was_full: bool, started_at: float, now: float) -> None:
        """Note the end of a call that started at `started_at`.

        `failed`: it timed out, or its outcome is unknown. `was_full`: as many calls ran as the
        limit allows. Times are in seconds of one clock. A call that started before the last
        decrease says nothing about the new limit.
        """
        if started_at < self._lowered_at:
            return

        self._answers += 1
        self._failures += failed
        self._has_success |= not failed
        self._was_full |= was_full
        if self._failures >= max(min(FEWEST_FAILURES, self.value), FAILURE_SHARE * self.value):
            self._lower(now)
        elif self._answers >= self.value:
            self._raise()

    def _lower(self, now: float) -> None:
        """Halve the limit. The threshold keeps what a destination that fell silent took before."""
        half = max(1, self.value // 2)
        if self._has_success:
            self._before = self.value
            self._threshold = self._expected = half
        else:
            self._expected = self._before
        self.value = half
        self._has_success = False
        self._lowered_at = now
        self._begin_round()

    def _raise(self) -> None:
        if self._was_full:
            if self.value < self._threshold:
                self.value = min(2 * self.value, self._threshold)
            else:
                self.value = min(self.most, self.value + max(1, self.value // RISE))
        self._begin_round()

    def _begin_round(self) -> None:
        self._answers = 0
        self._failures = 0
        self._was_full = False
