"""What can go wrong before the system is up, said in one line that tells what to do."""

__all__ = ["LocalError", "PortTaken", "ServerFailed", "StackRunning"]


class LocalError(Exception):
    """Something the user can put right: printed without a traceback."""


class PortTaken(LocalError):
    """Another program listens where one of ours should."""

    def __init__(self, port: int, variable: str) -> None:
        super().__init__(
            f"Port {port} is taken by another program. Set {variable} to a free port, or stop that program."
        )


class StackRunning(LocalError):
    """The stack of this run directory is up already."""


class ServerFailed(LocalError):
    """A server or a command ended where it should have come up."""
