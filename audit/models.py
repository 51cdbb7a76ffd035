"""The tables of the scheduled audit, in the database of orders: its runs, and open findings."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

__all__ = ["AuditRun", "Finding"]


class AuditRun(models.Model):
    """One scheduled audit of the orders, payments and other sagas that changed in a window, and of
    all stock.

    It works in pages. Each page commits with its findings and its cursor, so a later task continues
    there.
    """

    class Phase(models.TextChoices):
        FINDINGS = "findings", "orders and other sagas with an open finding"
        ORDERS = "orders", "orders that have ended"
        PAYMENTS = "payments", "payments that have changed"
        SAGAS = "sagas", "sagas of other kinds that have ended"
        STOCK = "stock", "stock of each SKU"
        DONE = "done", "finished"

    id = models.BigAutoField(primary_key=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    phase = models.CharField(
        max_length=8, choices=Phase.choices, default=Phase.FINDINGS, db_default=Phase.FINDINGS
    )
    after_at = models.DateTimeField(
        null=True, editable=False, help_text="The cursor: the time of the last row of the phase."
    )
    after_key = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The cursor: the key of the last row of the phase.",
    )
    orders = models.BigIntegerField(default=0, db_default=0, help_text="Orders checked.")
    sagas = models.BigIntegerField(
        default=0, db_default=0, help_text="Sagas of other kinds checked."
    )
    skus = models.BigIntegerField(default=0, db_default=0, help_text="SKUs checked.")
    violations = models.BigIntegerField(
        default=0, db_default=0, help_text="Open findings when the audit finished."
    )
    error = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="Why the last page could not be checked, such as a database that is down.",
    )
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    leased_until = models.DateTimeField(
        null=True, editable=False, help_text="A worker checks the window until then."
    )
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        indexes = (models.Index(fields=("-finished_at",), name="audit_run_finished"),)
        constraints = (
            # A constant, because at most one row may be unfinished.
            models.UniqueConstraint(
                fields=("finished_at",),
                condition=Q(finished_at=None),
                nulls_distinct=False,
                name="audit_run_one_open",
            ),
            models.CheckConstraint(
                condition=Q(phase__in=("findings", "orders", "payments", "sagas", "stock", "done")),
                name="audit_run_phase",
            ),
        )

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"


class Finding(models.Model):
    """A violation of an invariant that the last check of its subject found. A later check deletes
    the row once the invariant holds.
    """

    id = models.BigAutoField(primary_key=True)
    invariant = models.CharField(max_length=8, help_text="As in docs/guarantees.md, such as I3.")
    subject = models.CharField(max_length=255, help_text="The id of the saga, or the SKU.")
    kind = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The kind of the saga, such as orders.order; empty for a SKU.",
    )
    detail = models.TextField()
    first_seen_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("subject", "invariant"), name="audit_finding_once"),
        )

    def __str__(self) -> str:
        return f"{self.invariant} {self.subject}"
