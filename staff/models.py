"""The log of staff."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7
from staff.policy import action_choices

__all__ = ["LogCheck", "LogEntry", "LogHead"]


class LogEntry(models.Model):
    """One thing that a member of staff did: the person, the action, the reason, the outcome.

    People and runs are named by value, so an entry keeps its meaning after they are deleted.

    Database triggers give each entry its number and its hash, and refuse every change. `hash` is
    the SHA-256 of the previous entry's hash and of this entry's columns: staff.chain. Entries may
    be deleted after a year, the oldest first; the deletion is an entry as well.
    """

    class Kind(models.TextChoices):
        REQUESTED = "requested", "requested"
        AWAITING = "awaiting", "asked for approval"
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"
        ACTED = "acted", "acted"
        ENDED = "ended", "ended"
        CLOSED = "closed", "closed"
        INTENDED = "intended", "intended"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        REFUSED = "refused", "refused"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The trigger replaces both defaults. They keep the columns out of Django's INSERT.
    seq = models.BigIntegerField(
        db_default=0, editable=False, verbose_name="number", help_text="Without gaps, from 1."
    )
    hash = models.BinaryField(db_default=b"", editable=False)
    at = models.DateTimeField(db_default=Now(), editable=False)
    who = models.CharField(max_length=150)
    what = models.CharField(max_length=20, choices=Kind.choices)
    action = models.CharField(max_length=40, choices=action_choices)
    step = models.CharField(max_length=100, blank=True, default="", db_default="")
    run = models.UUIDField(null=True, help_text="Null where the action is no run.")
    order_id = models.UUIDField(
        "saga", null=True, help_text="Null where the entry is about the whole run."
    )
    via = models.CharField(
        max_length=10,
        blank=True,
        default="console",
        db_default="console",
        help_text="Where it was done: console, admin, api, command or system.",
    )
    subject = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="The object of the action, such as a SKU, if it is no saga and no step.",
    )
    approver = models.CharField(max_length=150, blank=True, default="", db_default="")
    address = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Address of the client; for a command, the name of the host.",
    )
    why = models.TextField(blank=True)
    outcome = models.TextField(blank=True)
    failure = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text="Key of the failure that the saga had at that time.",
    )
    about = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="The failing step and its error, without ids, times and numbers; or the closed "
        "difference.",
    )

    class Meta:
        db_table = "console_logentry"  # the table of earlier releases
        verbose_name_plural = "log"
        indexes = (
            models.Index(
                fields=("order_id", "id"),
                condition=Q(order_id__isnull=False),
                name="console_log_order",
            ),
            models.Index(fields=("run",), name="console_log_run"),
            models.Index(
                fields=("failure", "id"), condition=~Q(failure=""), name="console_log_failure"
            ),
            models.Index(fields=("who", "id"), name="console_log_who"),
            models.Index(
                fields=("subject", "id"), condition=~Q(subject=""), name="console_log_subject"
            ),
            models.Index(
                fields=("at",), condition=Q(action="login_failed"), name="console_log_failed_login"
            ),
        )
        constraints = (models.UniqueConstraint(fields=("seq",), name="console_log_seq"),)

    def __str__(self) -> str:
        return f"{self.who} {self.what} {self.get_action_display()}"


class LogHead(models.Model):
    """The two ends of the log. The table has one row.

    Adding an entry locks the row, so entries commit in the order of their numbers. `begin_seq` and
    `begin_hash` belong to the last entry that was deleted for its age.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    begin_seq = models.BigIntegerField()
    begin_hash = models.BinaryField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="staff_loghead_one_row"),)

    def __str__(self) -> str:
        return f"{self.seq}:{bytes(self.hash).hex()}"


class LogCheck(models.Model):
    """How far the scheduled check of the log has come, and the fault that it found, if any."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(help_text="The last entry that was checked.")
    hash = models.BinaryField()
    checked_at = models.DateTimeField()
    fault = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="staff_logcheck_one_row"),)

    def __str__(self) -> str:
        return f"checked to {self.seq}"
