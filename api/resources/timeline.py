"""The timeline of a saga as a list, or as a stream of each event once it is recorded.

A stream sends events in the order of recording, not of their `at`: clocks differ, and events from
other services may arrive late. So a client that resumes after an event has all events recorded
before it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db import Error
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework import generics, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth.authentication import is_token_valid
from api.problems.exceptions import FieldError, InvalidInput
from api.requests.strict_query import check_query
from api.resources.resource import SagaResource
from api.resources.waiting import current_version, require_slot
from api.responses.event_stream import (
    KEEP_ALIVE,
    EventStreamRenderer,
    event_stream,
    message,
    retry_after,
)
from api.responses.long_poller import Slot, release_connections
from sagas.models import TimelineEvent
from sagas.queries import SagaVersion, events_recorded_after, timeline_of

__all__ = ["EventSerializer", "SagaTimelineView"]

logger = logging.getLogger(__name__)

LAST_EVENT_ID = "Last-Event-ID"

# Seconds between comments: proxies close a connection that is idle for a minute.
KEEP_ALIVE_SECONDS = 15.0

# Seconds after which a stream checks that its token is still valid.
CHECK_SECONDS = 5.0

# Seconds after which a stream ends and its client resumes, so that servers can be stopped and
# expired tokens are noticed.
LONGEST_STREAM = 600.0

# Milliseconds after which a client reconnects when its stream has ended.
RETRY = 2_000


class EventSerializer(serializers.Serializer[TimelineEvent]):
    """An event of a saga, with the service that reported it.

    Derive a class to hide members of `detail` from every reader but the owner of the saga.
    """

    owners_only: ClassVar[frozenset[str]] = frozenset()

    type = serializers.CharField(read_only=True)
    service = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    step = serializers.CharField(
        read_only=True, help_text="The step of the saga; empty for an event without a step."
    )
    attempt = serializers.IntegerField(
        read_only=True, help_text="The attempt of the step, counted from 1."
    )
    detail = serializers.DictField(
        read_only=True, help_text="Further members, which depend on `type`."
    )

    def to_representation(self, event: TimelineEvent) -> dict[str, Any]:
        """Return the event; the members of `owners_only` only for the owner."""
        shown: dict[str, Any] = super().to_representation(event)
        if self.owners_only and not self.context.get("is_owner"):
            hidden = self.owners_only
            shown["detail"] = {
                name: value for name, value in shown["detail"].items() if name not in hidden
            }
        return shown


class SagaTimelineView(generics.ListAPIView[TimelineEvent]):
    """Lists or streams the events of a saga that the user may see."""

    resource: ClassVar[SagaResource]
    serializer_class = EventSerializer
    renderer_classes = (JSONRenderer, EventStreamRenderer)
    ordering: ClassVar = ("at", "seq", "id")
    is_owner = False

    def get_queryset(self) -> QuerySet[TimelineEvent]:
        """Return the events. Raises Http404 for a saga that the user may not see."""
        resource = self.resource
        if getattr(self, "swagger_fake_view", False):  # the schema is made without a saga
            return timeline_of(resource.model, UUID(int=0)).none()
        rows = resource.rows_for(self.request.user).prefetch_related(None)
        row = generics.get_object_or_404(rows.only("pk", resource.owner), pk=self.kwargs["pk"])
        self.is_owner = resource.is_owner(self.request.user, row)
        return timeline_of(resource.model, row.pk)

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the context: whether the saga is the reader's own."""
        return {**super().get_serializer_context(), "is_owner": self.is_owner}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Get the events of a saga, oldest first; or, as `text/event-stream`, until it has ended.

        The stream has the same items, in the order of recording. It ends with the saga, or after
        ten minutes: then resume with `Last-Event-ID`. 204 means that no events are left.
        """
        if isinstance(request.accepted_renderer, EventStreamRenderer):
            return self._stream(request)
        return self.list(request, *args, **kwargs)

    def _stream(self, request: Request) -> HttpResponseBase:
        check_query(request, ())
        self.get_queryset()  # raises Http404 for a saga that the user may not see
        saga: UUID = self.kwargs["pk"]
        last = self._resumed_after(request, saga)
        if last and _nothing_left(self.resource, saga, last):
            return Response(status=204)
        if request.method == "HEAD":
            return event_stream(iter(()), closing=lambda: None)

        slot = require_slot(request, self.resource)
        events = stream_events(
            self.resource,
            saga,
            after=last,
            slot=slot,
            show=self._message,
            may_go_on=partial(is_token_valid, request.auth),
        )
        return event_stream(events, closing=slot.release)

    def _resumed_after(self, request: Request, saga: UUID) -> TimelineEvent | None:
        """Return the last event that the client has seen, if it names one.

        Raises `InvalidInput` for an event of another saga.
        """
        given = request.headers.get(LAST_EVENT_ID)
        if not given:
            return None
        model = self.resource.model
        try:
            found = timeline_of(model, saga).filter(id=UUID(given)).first()
        except ValueError:
            found = None
        if found is None:
            detail = (
                f"This is not an event of this {self.resource.noun}."
                " Omit the header to start at the beginning."
            )
            raise InvalidInput(FieldError(LAST_EVENT_ID, "unknown", detail))
        return found

    def _message(self, event: TimelineEvent) -> bytes:
        shown = self.get_serializer_class()(event, context={"is_owner": self.is_owner})
        return message(id=event.id, event=event.type, data=JSONRenderer().render(shown.data))


def stream_events(
    resource: SagaResource,
    saga: UUID,
    *,
    after: TimelineEvent | None,
    slot: Slot[SagaVersion],
    show: Callable[[TimelineEvent], bytes],
    may_go_on: Callable[[], bool],
) -> Iterator[bytes]:
    """Yield the events recorded after a given one, and comments while there are none.

    `may_go_on` is asked every few seconds: the stream ends with the token. A database error ends
    the stream, because the client resumes by itself.
    """
    end = time.monotonic() + LONGEST_STREAM
    pause = min(CHECK_SECONDS, KEEP_ALIVE_SECONDS)
    next_comment = time.monotonic() + KEEP_ALIVE_SECONDS
    next_check = time.monotonic() + CHECK_SECONDS
    yield retry_after(RETRY)
    try:
        while True:
            # Read the version before the events: an event recorded in between changes the version.
            version = current_version(resource, saga)
            events = list(events_recorded_after(resource.model, saga, after=after))
            if time.monotonic() >= next_check:
                if not may_go_on():
                    return
                next_check = time.monotonic() + CHECK_SECONDS
            release_connections()  # a slow client must not hold a connection

            for event in events:
                yield show(event)
                after = event
            if version is None or version.ended or slot.cancelled or time.monotonic() > end:
                return
            changed = slot.wait(saga, _changed_since(version), seconds=pause)
            if not changed and time.monotonic() >= next_comment:
                yield KEEP_ALIVE
                next_comment = time.monotonic() + KEEP_ALIVE_SECONDS
    except Error as error:
        logger.warning(
            "%s %s: a database error ended the event stream; the client will resume: %r",
            resource.noun.capitalize(),
            saga,
            error,
        )


def _changed_since(version: SagaVersion) -> Callable[[SagaVersion | None], bool]:
    return lambda now: now is None or now.version != version.version


def _nothing_left(resource: SagaResource, saga: UUID, last: TimelineEvent) -> bool:
    version = current_version(resource, saga)
    has_ended = version is None or version.ended
    return has_ended and not events_recorded_after(resource.model, saga, after=last).exists()
