"""The HTTP server, with a thread for each connection. Faults delay or reset a connection."""

import contextlib
import logging
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tools.stripe_sandbox.app import App
from tools.stripe_sandbox.http import Ending, Reply, Request

__all__ = ["Server"]

log = logging.getLogger("sandbox")

MAX_BODY_BYTES = 1_000_000


class Server(ThreadingHTTPServer):
    """Serves `app` until `shutdown`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int]) -> None:
        """Listen on `address`. `serve_forever` starts serving."""
        super().__init__(address, Handler)
        self.app: App | None = None

    @property
    def origin(self) -> str:
        """The sandbox's own address, the start of links into it."""
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level only, because clients often disconnect."""
        log.debug("A connection from %s ended early.", client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "Sandbox"
    sys_version = ""
    timeout = 75  # seconds that an idle connection is kept
    wbufsize = -1  # buffered: a response is sent in one piece
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Serve a request."""
        self._serve()

    def do_POST(self) -> None:
        """Serve a request."""
        self._serve()

    def do_DELETE(self) -> None:
        """Serve a request."""
        self._serve()

    def end_headers(self) -> None:
        """Mark every response as the sandbox's."""
        self.send_header("X-Sandbox", "true")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing, because the app logs each request."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if (
            "Transfer-Encoding" in self.headers
            or not length.isdecimal()
            or int(length) > MAX_BODY_BYTES
        ):
            self.send_error(
                413,
                explain=f"Send a body of at most {MAX_BODY_BYTES} bytes, with its Content-Length.",
            )
            self.close_connection = True
            return

        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
            client=str(self.client_address[0]),
        )
        if self.server.app:
            self._end(self.server.app.handle(request))

    def _end(self, reply: Reply) -> None:
        match reply.ending:
            case Ending.ANSWER:
                self._answer(reply)
            case Ending.HANG:
                self._hang(reply.seconds)
            case Ending.RESET:
                self._reset()

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)

        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _hang(self, seconds: float) -> None:
        """Wait without an answer until the client disconnects or the time is over."""
        self.close_connection = True
        deadline = time.monotonic() + seconds

        with contextlib.suppress(OSError):  # timeout, or the client reset the connection
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(4096):
                    return

    def _reset(self) -> None:
        """Reset the connection, as a crashing host does: the client's next read fails."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
