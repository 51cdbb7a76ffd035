"""Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Callable, Iterator

from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

__all__ = [
    "KEEP_ALIVE",
    "MEDIA_TYPE",
    "EventStreamRenderer",
    "event_stream",
    "message",
    "retry_after",
]

MEDIA_TYPE = "text/event-stream"

# A comment: readers ignore it, and proxies see that the connection is in use.
KEEP_ALIVE = b": still here\n\n"


class EventStreamRenderer(JSONRenderer):
    """Negotiates `Accept: text/event-stream`. It renders only problems, as JSON."""

    media_type = MEDIA_TYPE
    format = "event-stream"


class _Chunks:
    """An iterator that calls back when it is closed, even if no chunk was ever read."""

    def __init__(self, chunks: Iterator[bytes], closing: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = closing

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def event_stream(chunks: Iterator[bytes], *, closing: Callable[[], None]) -> StreamingHttpResponse:
    """Return a stream as an uncached, unbuffered response; `closing` is called at its end."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_Chunks(chunks, closing), content_type=MEDIA_TYPE, headers=headers)


def message(*, id: object, event: str, data: bytes) -> bytes:  # noqa: A002  (the name in the format)
    """Return one event. `data` is JSON on one line."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(id).encode(), event.encode(), data)


def retry_after(milliseconds: int) -> bytes:
    """Return the line that tells a client how long to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds
