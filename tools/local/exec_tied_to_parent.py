"""Replace this process with another program that dies with its parent.

Run as a script: `exec_tied_to_parent.py PARENT SIGNAL USER COMMAND…`.

This is a script and no `preexec_fn`, because a `preexec_fn` is not safe in a process with threads.
The script also loads Python before it drops to a user that may be unable to read it. Standard
library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def exec_tied_to_parent(parent: int, death_signal: int, user: int, command: list[str]) -> None:
    """Drop to the uid `user` (0: keep the user), tie this process to its parent, exec `command`."""
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)

    if sys.platform == "linux":  # after setuid, which clears it; exec keeps it, fork does not
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() == parent:  # otherwise the parent died before prctl
        os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    exec_tied_to_parent(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
