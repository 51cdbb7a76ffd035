"""Find and check ports on the loopback interface."""

import os
import random
import socket
from itertools import islice

from tools.local.errors import LocalError, PortTaken

__all__ = [
    "HOST",
    "accepts_connections",
    "free_port",
    "free_ports",
    "port_from_env",
    "require_free",
]

HOST = "127.0.0.1"
# Below the ephemeral ports of Linux (from 32768) and macOS (from 49152). No outgoing connection
# takes the port of a server that is down for a moment.
STABLE_PORTS = range(20_000, 32_000)


def port_from_env(variable: str, default: int) -> int:
    """Return the port that an environment variable names, or the default."""
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise LocalError(f"{variable} is {text!r}, which is not a port number.")

    return int(text or default)


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # Servers set this too: connections in TIME_WAIT do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False

    return True


def require_free(port: int, variable: str) -> None:
    """Raise PortTaken unless the port is free. The error names `variable`, which sets the port."""
    if not is_free(port):
        raise PortTaken(port, variable)


def free_port() -> int:
    """Return a free port at random. Another process is unlikely to take it in the meantime."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return different free ports at random, for servers that start one after the other."""
    candidates = random.sample(STABLE_PORTS, 100 + count)
    return list(islice(filter(is_free, candidates), count))


def accepts_connections(port: int) -> bool:
    """Return whether a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
