from collections.abc import Sequence
from typing import Any

from django.db import models

import sagas.models


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


class StepFault(sagas.models.StepFault):
    class Meta(sagas.models.StepFault.Meta):
        abstract = False
        db_table = "trips_stepfault"


class CallLimit(sagas.models.CallLimit):
    class Meta(sagas.models.CallLimit.Meta):
        abstract = False
        db_table = "trips_calllimit"


class Watermark(sagas.models.Watermark):
    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "trips_watermark"


class TimelineEvent(sagas.models.TimelineEvent):
    class Meta(sagas.models.TimelineEvent.Meta):
        abstract = False
        db_table = "trips_timelineevent"


class Followed(sagas.models.TrackedSaga):
    """A saga that counts the events that it reads. `user_id` is the user who began it by REST."""

    user_id = models.IntegerField(null=True)
    followed = models.IntegerField(default=0)

    class Meta(sagas.models.TrackedSaga.Meta):
        abstract = True

    @classmethod
    def apply_events(cls, events: Sequence[Any]) -> None:
        for event in events:
            cls._default_manager.filter(pk=event.saga).update(followed=models.F("followed") + 1)


class Trip(Followed):
    class Meta(Followed.Meta):
        abstract = False
        db_table = "trips_trip"


class Cruise(Followed):
    """A second kind of saga in the same home."""

    class Meta(Followed.Meta):
        abstract = False
        db_table = "trips_cruise"


class Effect(models.Model):
    """One effect of a step. Tests compare these rows with the inbox."""

    trip = models.UUIDField()
    step = models.CharField(max_length=50)
    attempt = models.IntegerField()
    at = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = "trips_effect"
