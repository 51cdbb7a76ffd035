"""Gunicorn's threads, fed by a loop that waits for the sockets: a slow client holds no thread.

Gunicorn's own gthread worker reads each request in a thread, so 512 half-sent requests would stop
an API with 512 threads. Here the worker's main loop receives each request as a whole before a
thread gets it. It also sends the part of a response that the client has not yet taken. A thread
reads from no socket, and waits for one only after `MAX_UNSENT` bytes.

The loop's own limits: a request must arrive within `RECEIVE_SECONDS`, a response must leave within
`SEND_SECONDS`, and connections and their buffers are bounded. Above a bound, the connection that
has waited longest is closed: real requests arrive within milliseconds.
"""

import contextlib
import errno
import re
import resource
import select
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import IO, Any

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

__all__ = ["BufferingWorker", "Incoming"]

# Seconds for a whole request, from its first byte or the start of the connection.
RECEIVE_SECONDS = 20.0

# Seconds for the rest of a response, after its view has returned.
SEND_SECONDS = 60.0

# Seconds for which a closed connection is read, so that the client gets the end of the response
# (RFC 9112, section 9.6), and for which a stopping worker accepts one more request.
LINGER_SECONDS = 2.0

# Bytes of a request's head. Gunicorn limits each of its lines.
MAX_HEAD = 64 * 1024

# Bytes of a body: Django's DATA_UPLOAD_MAX_MEMORY_SIZE. Every view rejects a larger Content-Length
# without reading the body, so the body is not received.
MAX_BODY = 2_621_440

# Bytes of a response that wait for the client while a view goes on.
MAX_UNSENT = 4 * 1024 * 1024

# Bytes in the buffers of all connections of one process.
MAX_BUFFERED = 128 * 1024 * 1024

# Seconds between two log lines about closed connections.
LOG_SECONDS = 60.0

# File descriptors for anything but clients: databases, Redis, files, and so on.
OTHER_DESCRIPTORS = 1024

CHUNK = 64 * 1024

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
TRY_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR)

END_OF_HEAD = b"\r\n\r\n"
BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
TRANSFER_ENCODING = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
CONTENT_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r$")
EXPECT_CONTINUE = re.compile(rb"(?im)^expect[ \t]*:[ \t]*100-continue[ \t]*\r$")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_SLOW = "408 Request Timeout"
HEAD_TOO_LARGE = "431 Request Header Fields Too Large"


class Incoming:
    """The bytes of a request, until they are complete.

    Finds the end of a request only. Gunicorn parses and checks it: a request that looks malformed
    is complete at once.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.head_too_large = False
        self._searched = 0
        self._size: int | None = None
        self._expects_continue = False

    def feed(self, chunk: bytes) -> bool:
        """Add some bytes; return whether the request is complete."""
        self.data += chunk
        if self._size is None:
            self._find_size()
        return self._size is not None and len(self.data) >= self._size

    @property
    def has_head(self) -> bool:
        """Whether the head has arrived, so that a view can answer that the body is incomplete."""
        return self._size is not None

    def wants_continue(self) -> bool:
        """Return, once, whether the client waits for `100 Continue` before it sends the body."""
        wants, self._expects_continue = self._expects_continue, False
        return wants

    def _find_size(self) -> None:
        end = self.data.find(END_OF_HEAD, max(0, self._searched - len(END_OF_HEAD) + 1))
        if end >= 0:
            self._read_head(bytes(self.data[: end + len(END_OF_HEAD)]))
        elif BARE_LINE_FEED.search(self.data, self._searched):
            self._size = 0
        elif len(self.data) > MAX_HEAD:
            self.head_too_large = True
            self._size = 0
        self._searched = len(self.data)

    def _read_head(self, head: bytes) -> None:
        self.head_too_large = len(head) > MAX_HEAD
        lengths = CONTENT_LENGTH.findall(head)
        if TRANSFER_ENCODING.search(head) or len(lengths) != 1:
            self._size = len(head)
            return
        length = int(lengths[0])
        is_rejected = length > MAX_BODY
        self._size = len(head) + (0 if is_rejected else length)
        self._expects_continue = bool(EXPECT_CONTINUE.search(head)) and not is_rejected


class Received:
    """The bytes of a request, from which gunicorn reads it. An iterator of one chunk.

    `is_short`: gunicorn needed more bytes, such as a body that was not received. Where the next
    request starts is then unknown, and bytes of the body could be taken for one.
    """

    def __init__(self, data: bytes) -> None:
        self.is_short = False
        self._chunks = [data]

    def __iter__(self) -> "Received":
        return self

    def __next__(self) -> bytes:
        """Return the chunk, once."""
        if self._chunks:
            return self._chunks.pop()
        self.is_short = True
        raise StopIteration


class ClientSocket:
    """A client's socket for gunicorn's threads. Writing does not wait; reading is not possible.

    Bytes that the client does not take at once stay in `unsent`.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.connected = connected
        self.unsent = bytearray()

    def sendall(self, data: bytes) -> None:
        """Send some bytes, or keep them. Raises OSError if the client has disconnected.

        Waits if more than `MAX_UNSENT` bytes are kept, for `SEND_SECONDS` at most.
        """
        self.unsent += data
        self.flush()
        deadline = time.monotonic() + SEND_SECONDS
        while len(self.unsent) > MAX_UNSENT:
            poll = select.poll()
            poll.register(self.connected, select.POLLOUT)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise BrokenPipeError(errno.EPIPE, "The client does not read its response")
            self.flush()

    def flush(self) -> None:
        """Send as much as the client takes now. Raises OSError."""
        while self.unsent:
            try:
                sent = self.connected.send(memoryview(self.unsent)[:CHUNK])
            except (BlockingIOError, InterruptedError):
                return
            del self.unsent[:sent]

    def send(self, data: bytes) -> int:
        """Do nothing: gunicorn sends only `100 Continue` so, which the loop has sent if needed."""
        return len(data)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send a part of a file, as `socket.sendfile`."""
        file.seek(offset)
        left, total = count, 0
        while chunk := file.read(MAX_UNSENT if left is None else min(MAX_UNSENT, left)):
            self.sendall(chunk)
            total += len(chunk)
            left = None if left is None else left - len(chunk)
        return total

    def fileno(self) -> int:
        """Return the file descriptor; -1 after the socket was closed."""
        return self.connected.fileno()

    def recv(self, size: int) -> bytes:
        """Raise BlockingIOError or return some bytes, without waiting."""
        return self.connected.recv(size)

    def gettimeout(self) -> float:
        """Return 0: the socket is never blocking."""
        return 0.0

    def settimeout(self, timeout: float | None) -> None:
        """Do nothing: the socket is never blocking."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: the socket is never blocking."""

    def shutdown(self, how: int) -> None:
        """Shut down one or both directions."""
        self.connected.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self.connected.close()


class Connection(TConn):
    """A connection, the request that arrives on it, and its deadline in the loop."""

    def __init__(self, cfg: Any, accepted: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, ClientSocket(accepted), client, server)
        self.initialized = self.data_ready = True
        self.incoming = Incoming()
        self.received = Received(b"")
        self.state: dict[Connection, None] | None = None
        self.deadline = 0.0
        self.buffered = 0
        self.keep = False
        self.drained = 0


class BufferingWorker(ThreadWorker):
    """A gthread worker whose threads do not wait for clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The states in which the loop watches a connection. Each is in the order of its deadlines.
        self._idle: dict[Connection, None] = {}
        self._receiving: dict[Connection, None] = {}
        self._sending: dict[Connection, None] = {}
        self._lingering: dict[Connection, None] = {}
        self._buffered = 0
        self._closed_unfinished = 0
        self._logged_at = -LOG_SECONDS
        self._stopping_since: float | None = None

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Log in which configurations slow clients hold threads, as with gunicorn's own worker."""
        super().check_config(cfg, log)
        if not _buffers(cfg):
            log.warning(
                "Slow clients can take all threads of the API, because gunicorn itself decrypts "
                "TLS, or reads HTTP/2, uWSGI's or the PROXY protocol. Leave them to a proxy in "
                "front of it, which speaks HTTP/1 to gunicorn."
            )

    def init_process(self) -> None:
        """Allow as many file descriptors as the connections need, then start the loop."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.worker_connections + OTHER_DESCRIPTORS
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
        super().init_process()

    # --- In the loop -----------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Accept a connection and wait for its request. At the limit, close another one first."""
        if not _buffers(self.cfg):
            super().accept(listener)
            return
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                self._close_longest_waiting()
            elif error.errno not in TRY_AGAIN:
                raise
            return
        self.nr_conns += 1
        connection = Connection(self.cfg, accepted, address, listener.getsockname())
        self._watch(connection, self._receiving, RECEIVE_SECONDS)
        if self.nr_conns >= self.worker_connections:
            self._close_longest_waiting()

    def finish_request(self, conn: Any, fs: "Future[Any]") -> None:
        """Go on with a connection after its thread is done: send the rest, wait, or close it."""
        if not isinstance(conn, Connection):
            super().finish_request(conn, fs)
            return
        failed = fs.cancelled() or fs.exception() is not None
        conn.keep = not failed and bool(fs.result()) and not conn.received.is_short
        if conn.sock.fileno() < 0:
            self.nr_conns -= 1
        elif conn.sock.unsent:
            self._count(conn, len(conn.sock.unsent))
            self._watch(conn, self._sending, SEND_SECONDS)
            self._limit_buffers()
        else:
            self._after_response(conn)

    def murder_pending(self) -> None:
        """Close the connections whose time is up. Gunicorn calls this at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        if not self.alive and self._stopping_since is None:
            self._stopping_since = now
        if self._stopping_since is not None and now > self._stopping_since + LINGER_SECONDS:
            for connection in [*self._idle, *self._receiving]:
                self._close(connection)

        for state in (self._idle, self._receiving, self._sending, self._lingering):
            while state and (first := next(iter(state))).deadline <= now:
                self._count_unfinished(first)
                if first.incoming.data:
                    self._refuse(first, TOO_SLOW)
                else:
                    self._close(first)
        self._log_closed()

    def _on_readable(self, conn: Connection, _: Any) -> None:
        chunk = self._read(conn, self._idle, self._receiving)
        if not chunk:
            return
        if conn.state is self._idle:
            self._watch(conn, self._receiving, RECEIVE_SECONDS)
        self._receive(conn, chunk)

    def _on_lingering(self, conn: Connection, _: Any) -> None:
        conn.drained += len(self._read(conn, self._lingering))
        if conn.drained > MAX_BODY:
            self._close(conn)

    def _on_writable(self, conn: Connection, _: Any) -> None:
        if conn.state is not self._sending:
            return
        try:
            conn.sock.flush()
        except OSError:
            self._close(conn)
            return
        self._count(conn, len(conn.sock.unsent))
        if not conn.sock.unsent:
            self._forget(conn)
            self._after_response(conn)

    def _read(self, conn: Connection, *states: dict[Connection, None]) -> bytes:
        """Return some bytes, or none. Close the connection if the client has done so."""
        if not any(conn.state is state for state in states):
            return b""  # closed by an earlier event of the same round
        try:
            chunk: bytes = conn.sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            chunk = b""
        if chunk:
            return chunk
        if conn.state is self._receiving and conn.incoming.has_head:
            self._start(conn)  # the client has closed only its end, and may read an answer
        else:
            self._close(conn)
        return b""

    def _receive(self, conn: Connection, chunk: bytes) -> None:
        """Add bytes to a request; give it to a thread once it is complete."""
        complete = conn.incoming.feed(chunk)
        self._count(conn, len(conn.incoming.data))
        if conn.incoming.head_too_large:
            self._refuse(conn, HEAD_TOO_LARGE)
        elif complete:
            self._start(conn)
        else:
            if conn.incoming.wants_continue():
                with contextlib.suppress(OSError):
                    conn.sock.sendall(CONTINUE)
            self._limit_buffers()

    def _start(self, conn: Connection) -> None:
        """Give a request to a thread."""
        self._forget(conn)
        conn.received = Received(bytes(conn.incoming.data))
        conn.incoming = Incoming()
        conn.parser = RequestParser(self.cfg, conn.received, conn.client)
        self.enqueue_req(conn)

    def _after_response(self, conn: Connection) -> None:
        """Wait for the next request, whose start may have arrived; or close the connection."""
        if not conn.keep:
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_WR)
            self._watch(conn, self._lingering, LINGER_SECONDS)
            return
        begun = conn.parser.unreader.take_buffered()
        conn.parser = None
        if begun:
            self._watch(conn, self._receiving, RECEIVE_SECONDS)
            self._receive(conn, begun)
        else:
            self._watch(conn, self._idle, self.cfg.keepalive)

    def _refuse(self, conn: Connection, status: str) -> None:
        """Answer a request that does not reach a thread, and close its connection."""
        self._forget(conn)
        answer = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        try:
            conn.sock.sendall(answer.encode())
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        conn.keep = False
        self._after_response(conn)

    # --- The states ------------------------------------------------------------------------------

    def _watch(self, conn: Connection, state: dict[Connection, None], seconds: float) -> None:
        """Let the loop watch a connection in some state, for some seconds."""
        self._unwatch(conn)
        callbacks: dict[int, tuple[int, Callable[[Connection, Any], None]]] = {
            id(self._idle): (selectors.EVENT_READ, self._on_readable),
            id(self._receiving): (selectors.EVENT_READ, self._on_readable),
            id(self._sending): (selectors.EVENT_WRITE, self._on_writable),
            id(self._lingering): (selectors.EVENT_READ, self._on_lingering),
        }
        events, callback = callbacks[id(state)]
        conn.deadline = time.monotonic() + seconds
        conn.state = state
        state[conn] = None
        self.poller.register(conn.sock.connected, events, partial(callback, conn))

    def _unwatch(self, conn: Connection) -> None:
        if conn.state is not None:
            del conn.state[conn]
            conn.state = None
            self.poller.unregister(conn.sock.connected)

    def _forget(self, conn: Connection) -> None:
        """Stop watching a connection, and count its buffer no longer."""
        self._unwatch(conn)
        self._count(conn, 0)

    def _close(self, conn: Connection) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _count(self, conn: Connection, size: int) -> None:
        self._buffered += size - conn.buffered
        conn.buffered = size

    def _close_longest_waiting(self) -> None:
        """Close a connection that has no request, or else the oldest that has one."""
        for state in (self._lingering, self._idle, self._receiving, self._sending):
            if state:
                first = next(iter(state))
                self._count_unfinished(first)
                self._close(first)
                return

    def _limit_buffers(self) -> None:
        """Close the connections that have waited longest, until the buffers of the rest fit."""
        while self._buffered > MAX_BUFFERED:
            state = self._sending or self._receiving
            first = next(iter(state))
            self._count_unfinished(first)
            self._close(first)

    def _count_unfinished(self, conn: Connection) -> None:
        """Count a connection that is closed within a request or a response."""
        self._closed_unfinished += bool(conn.incoming.data or conn.sock.unsent)

    def _log_closed(self) -> None:
        now = time.monotonic()
        if self._closed_unfinished and now >= self._logged_at + LOG_SECONDS:
            self.log.warning(
                "Closed %d connections of slow clients: a request must arrive within %g s, and a "
                "response must be read within %g s.",
                self._closed_unfinished,
                RECEIVE_SECONDS,
                SEND_SECONDS,
            )
            self._closed_unfinished, self._logged_at = 0, now


def _buffers(cfg: Any) -> bool:
    """Whether the loop can read requests: they are HTTP/1 from their first byte."""
    is_plain = not cfg.is_ssl and cfg.proxy_protocol == "off"
    return is_plain and cfg.http2_cleartext == "off" and cfg.protocol == "http"
