"""Deploy another release under load: workers first, then the API, as docs/upgrading.md says.

Two releases take turns. The later one adds a step of inventory and renames another one; going back
removes and renames them. So both kinds of workers share one queue for a while.
"""

import time
from collections.abc import Callable

from tools.chaos.episodes import EpisodeFailed
from tools.chaos.extra_worker import SETTINGS, ExtraWorker, LogWatch, replace_program, within
from tools.chaos.fault_schedule import Episode
from tools.local.stack import Stack

__all__ = ["RollingDeployments"]

EARLIER, LATER = "config.settings", "tools.chaos.releases.later.settings"
SERVICE, WORKER = "inventory", "worker-inventory"
IS_READY = r" ready\."
READY_SECONDS = 120.0

# Seconds in which the sagas of the last release must end, although a bad release may hold them up.
# Each check starts Django, which takes seconds on a busy machine.
STRANDED_SECONDS = 480.0
CHECK_PAUSE_SECONDS = 1.0


class RollingDeployments:
    """Runs the episodes that are deployments. Each of them deploys the other release."""

    def __init__(self, stack: Stack, *, notify: Callable[[str], None]) -> None:
        """Deploy to `stack`, which runs the project's own release.

        Calls `notify` with a line for each stage of a deployment.
        """
        self._stack = stack
        self._notify = notify
        self._next = LATER

    def run(self, episode: Episode) -> str:
        """Deploy the other release; return a title for the deployment.

        Raises EpisodeFailed if a process does not start, or if `upgrade_check` goes on to find
        sagas that need the last release.
        """
        release = self._next
        title = (
            "a deployment adds and renames a step"
            if release == LATER
            else "a deployment removes and renames a step"
        )
        with ExtraWorker(
            self._stack, SERVICE, name=f"new-{SERVICE}", **{SETTINGS: release}
        ).running():
            self._notify("deployment: workers of both releases take messages")
            time.sleep(episode.seconds)
            replace_program(self._stack, "api", release)
            self._notify("deployment: the API is of the new release")
            time.sleep(episode.seconds)
            self._wait_until_none_is_stranded(release)
            self._replace_worker(release)

        self._next = EARLIER if release == LATER else LATER
        return title

    def _wait_until_none_is_stranded(self, release: str) -> None:
        """Keep the worker of the last release until no open saga needs it."""
        found = ""
        deadline = time.monotonic() + STRANDED_SECONDS
        while time.monotonic() < deadline:
            checked = self._stack.manage(
                "upgrade_check", "--before", "workers", **{SETTINGS: release}
            )
            if checked.returncode == 0:
                return
            found = checked.stdout or checked.stderr
            self._notify(f"deployment: upgrade_check finds {found.strip()}")
            time.sleep(CHECK_PAUSE_SECONDS)
        raise EpisodeFailed(
            f"After {STRANDED_SECONDS:.0f} s, `upgrade_check` still finds: {found.strip()}"
        )

    def _replace_worker(self, release: str) -> None:
        """Replace the worker of the stack, while the further worker of the release goes on."""
        log = LogWatch(self._stack.run_dir.log(WORKER))
        replace_program(self._stack, WORKER, release)
        if not within(READY_SECONDS, lambda: log.matches(IS_READY)):
            raise EpisodeFailed(f"{WORKER} of the new release does not get ready.")
