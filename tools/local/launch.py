"""Become another program that dies with its parent. Run as a script: `launch.py PARENT SIGNAL USER
COMMAND…`.

A program of its own rather than a `preexec_fn`: it is safe in a process with threads, and it loads
Python before it drops to a user who may not be able to read it. Standard library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def launch(parent: int, death_signal: int, user: int, command: list[str]) -> None:
    """Drop to `user` (0: stay), tie this process to its parent, and become `command`."""
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if sys.platform == "linux":  # after setuid, which clears it; exec keeps it, fork does not
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() == parent:  # else it died before it could be tied to
        os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    launch(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
