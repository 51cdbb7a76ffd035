from django.db import models

from api.resources.models import IdempotencyRecord


class TripKey(IdempotencyRecord):
    """The answers to the keys of trips and cruises. No foreign key leads to the users."""

    user = models.IntegerField()  # type: ignore[assignment]

    class Meta(IdempotencyRecord.Meta):
        abstract = False
        db_table = "trips_key"
