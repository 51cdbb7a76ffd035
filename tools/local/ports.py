"""Ports on the loopback interface: is one free, and which one is."""

import os
import random
import socket

from tools.local.errors import LocalError, PortTaken

__all__ = ["HOST", "accepts_connections", "chosen_port", "demand_free", "free_port"]

HOST = "127.0.0.1"
# Below the range that Linux (32768) and macOS (49152) take local ends of connections from: a server
# that is down for a moment finds its port free again.
QUIET_PORTS = range(20_000, 32_000)


def chosen_port(variable: str, default: int) -> int:
    """Return the port that an environment variable names, or the default."""
    given = os.environ.get(variable, "")
    if given and not given.isdecimal():
        raise LocalError(f"{variable} is {given!r}, which is no port number.")
    return int(given or default)


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def demand_free(port: int, variable: str) -> None:
    """Raise PortTaken, naming the variable that chooses another port, unless the port is free."""
    if not is_free(port):
        raise PortTaken(port, variable)


def free_port() -> int:
    """Return a port nobody listens on, unlikely to be handed to anyone else meanwhile."""
    candidates = random.sample(QUIET_PORTS, 100)
    return next(port for port in candidates if is_free(port))


def accepts_connections(port: int) -> bool:
    """Say whether somebody listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
