"""The engine's admin pages in the look of django-unfold.

A project with unfold derives its pages from these classes, and registers them. A project without
unfold uses `sagas.admin`. The package django-unfold is an extra: `django-celery-sagas[unfold]`.
"""

from typing import Any

from unfold.admin import ModelAdmin
from unfold.decorators import display

from sagas.admin import changelist, messages, tracked

__all__ = ["InboxAdmin", "KnownRowsAdmin", "OutboxAdmin", "ReadOnlyAdmin", "SagaAdmin"]

# The theme's colour for each state, by its meaning for an operator.
PUBLICATION = {
    "published": "success",
    "due": "info",
    "being sent": "info",
    "failed to send": "danger",
    "parked": "danger",
}
STATES = {
    "done": "success",
    "refused": "primary",
    "barred": "primary",
    "given up": "danger",
    "started": "info",
    "waiting": "warning",
    "waits as agreed": "info",
    "held": "warning",
    "keeps failing": "danger",
    "parked": "danger",
}

SAGAS = {
    "open": "info",
    "ended": "success",
    "on hold": "warning",
    "waits as agreed": "info",
}


class KnownRowsAdmin(changelist.KnownRowsAdmin, ModelAdmin):
    """`sagas.admin.changelist.KnownRowsAdmin` in unfold's look."""


class ReadOnlyAdmin(changelist.ReadOnlyAdmin, KnownRowsAdmin):
    """`sagas.admin.changelist.ReadOnlyAdmin` in unfold's look."""


class OutboxAdmin(messages.OutboxAdmin, ReadOnlyAdmin):
    """`sagas.admin.messages.OutboxAdmin`, with a colour for each state."""

    @display(description="state", label=PUBLICATION)
    def state(self, row: Any) -> str:
        """Return whether the row was sent."""
        return super().state(row)


class InboxAdmin(messages.InboxAdmin, ReadOnlyAdmin):
    """`sagas.admin.messages.InboxAdmin`, with a colour for each state."""

    @display(description="state", label=STATES)
    def outcome(self, row: Any) -> str:
        """Return the step's state."""
        return super().outcome(row)


class SagaAdmin(tracked.SagaAdmin, ReadOnlyAdmin):
    """`sagas.admin.tracked.SagaAdmin`, with a colour for each status."""

    @display(description="status", label=SAGAS)
    def status(self, row: Any) -> str:
        """Return the status of the saga."""
        return super().status(row)

    @display(description="attention", label={"needs attention": "danger"}, empty_value="")
    def attention(self, row: Any) -> str | None:
        """Mark a saga that needs attention."""
        return super().attention(row)
