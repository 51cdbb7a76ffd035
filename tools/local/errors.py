"""Errors that keep the system from starting. Each message says what to do."""

__all__ = ["LocalError", "PortTaken", "ServerFailed", "StackRunning"]


class LocalError(Exception):
    """An error that the user can fix. The command line prints it without a traceback."""


class PortTaken(LocalError):
    """Another program listens on a port that a server of the stack needs."""

    def __init__(self, port: int, variable: str) -> None:
        super().__init__(
            f"Another program uses port {port}. "
            f"Stop that program, or set {variable} to a free port."
        )


class StackRunning(LocalError):
    """Another process runs the stack of this run directory."""


class ServerFailed(LocalError):
    """A server or command of the stack failed."""
