"""Runs the faults that last for a while, one after the other, each when it is due."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from tools.chaos.fault_schedule import Episode

__all__ = ["EpisodeFailed", "EpisodeRunner"]

PAUSE_SECONDS = 0.1


class EpisodeFailed(Exception):
    """An episode did not begin, or did not end. The message says which, and why."""


class EpisodeRunner:
    """Runs episodes in a thread of its own.

    `done` counts the episodes that are over, by title. `problems` has a line for each failed
    episode. `last_at` is the end of the last one.
    """

    def __init__(
        self,
        episodes: list[Episode],
        run: Callable[[Episode], str],
        *,
        answered: Callable[[], int],
        notify: Callable[[str], None],
    ) -> None:
        """Call `run` with each episode, depending on the number of orders `answered`.

        `run` returns when the episode is over, with a title for it. Calls `notify` with a line for
        each begin and each end.
        """
        self._episodes = list(episodes)
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self.last_at = datetime.now(UTC)
        self._run_episode = run
        self._answered = answered
        self._notify = notify
        self._thread = threading.Thread(target=self._run, name="episodes", daemon=True)

    def start(self) -> None:
        """Start running in a thread."""
        self._thread.start()

    def finish(self) -> None:
        """Wait for all episodes. Call this once the last order is answered."""
        self._thread.join()

    def _run(self) -> None:
        for episode in self._episodes:
            while self._answered() < episode.after:
                time.sleep(PAUSE_SECONDS)
            self._run_one(episode)

    def _run_one(self, episode: Episode) -> None:
        self._notify(f"{episode.kind}: begins, with {self._answered()} orders answered")
        try:
            title = self._run_episode(episode)
        except Exception as error:  # a thread that died would end the episodes unseen
            reason = str(error) if isinstance(error, EpisodeFailed) else repr(error)
            self.problems.append(f"{episode.kind}: {reason}")
            self._notify(f"{episode.kind}: failed. {reason}")
        else:
            self.done[title] += 1
            self._notify(f"{episode.kind}: is over. {title}")
        self.last_at = datetime.now(UTC)
