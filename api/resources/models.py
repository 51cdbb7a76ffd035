"""The abstract table of the answers to idempotency keys."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

__all__ = ["IdempotencyRecord"]


class IdempotencyRecord(models.Model):
    """The stored answer to a client's key: repeating the request makes no second resource.

    Derive one model for each app, in the database of its resources. It may serve several kinds. A
    model with a foreign key in place of `saga` sets `saga = None` and names the key in `resource`.
    In a database without the users, `user` is an `IntegerField` instead.
    """

    resource: ClassVar[str] = "saga"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="+"
    )
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(
        max_length=64, help_text="SHA-256 of the parsed request, so its formatting does not matter."
    )
    saga = models.UUIDField()
    body = models.TextField(help_text="The body of the answer.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True
        constraints = (
            models.UniqueConstraint(fields=("user", "key"), name="%(app_label)s_idempotency_once"),
        )

    def __str__(self) -> str:
        return self.key
