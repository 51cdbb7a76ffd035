from collections.abc import Sequence
from typing import Any

from django.db import models

import sagas.models
from sagas.ids import uuid7


class Outbox(sagas.models.Outbox):
    class Meta(sagas.models.Outbox.Meta):
        abstract = False
        db_table = "trips_outbox"


class Inbox(sagas.models.Inbox):
    class Meta(sagas.models.Inbox.Meta):
        abstract = False
        db_table = "trips_inbox"


class Hold(sagas.models.Hold):
    class Meta(sagas.models.Hold.Meta):
        abstract = False
        db_table = "trips_hold"


class Watermark(sagas.models.Watermark):
    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "trips_watermark"


class TimelineEvent(sagas.models.TimelineEvent):
    class Meta(sagas.models.TimelineEvent.Meta):
        abstract = False
        db_table = "trips_timelineevent"


class Trip(sagas.models.TrackedSaga):
    id = models.UUIDField(primary_key=True, default=uuid7)
    followed = models.IntegerField(default=0)

    class Meta(sagas.models.TrackedSaga.Meta):
        abstract = False
        db_table = "trips_trip"

    @classmethod
    def apply_events(cls, events: Sequence[Any]) -> None:
        for event in events:
            cls.objects.filter(id=event.saga).update(followed=models.F("followed") + 1)


class Effect(models.Model):
    """One effect of a step. Tests compare these rows with the inbox."""

    trip = models.UUIDField()
    step = models.CharField(max_length=50)
    attempt = models.IntegerField()
    at = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = "trips_effect"
