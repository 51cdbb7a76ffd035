"""The admin of tracked sagas: the same pages for each kind, and for each home.

A kind whose app registers no admin of its own gets `SagaAdmin` when the console starts.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from console.admin import tabs
from console.admin.filters import FailureFilter, HoldFilter
from console.bulk_actions.action import OrderAction
from console.bulk_actions.actions.mark_done import MarkDone, steps_to_mark_done
from console.bulk_actions.registry import bulk_actions, is_permitted, order_page_actions
from console.bulk_actions.runs import MOST_ORDERS
from console.holds import hold_of, step_holds
from console.open_waits import find_open_waits
from console.order_page.saga_detail import SagaDetail, load_saga_detail, table_model
from console.partial_reader import PartialReader
from console.related_facts import offered_proposals, related_facts
from console.views.runs import draft_run
from sagas.admin.tracked import SagaOlderThan, StatusFilter
from sagas.contrib import unfold
from sagas.definition.plan import service_name
from sagas.kinds import all_kinds
from sagas.models import Inbox, Outbox, TrackedSaga
from sagas.storage.registry import service_names
from staff.models import LogEntry
from staff.policy import decide
from staff.signals import signal_action

__all__ = ["SagaAdmin", "load_detail", "register_kinds", "register_messages"]

# The lists of messages of a service without lists of its own.
MESSAGES = {Outbox: unfold.OutboxAdmin, Inbox: unfold.InboxAdmin}

# Log entries that the page of a saga shows.
HISTORY = 50


def _list_action(action: OrderAction) -> Callable[..., HttpResponse | None]:
    """Return an operator action as an action of a list of sagas."""

    @admin.action(description=action.label, permissions=("operate",))
    def draft(
        model_admin: "SagaAdmin", request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        selected = queryset.order_by("pk").values_list("pk", flat=True)
        return draft_run(request, action.name, list(selected[: MOST_ORDERS + 1]))

    draft.__name__ = action.name
    return draft


class SagaAdmin(unfold.SagaAdmin):
    """The sagas of one kind. The page of one shows it in all its services."""

    change_form_template = "console/saga.html"
    list_filter: ClassVar[Any] = (
        tabs.ShownFilter,
        StatusFilter,
        "needs_attention",
        SagaOlderThan,
        HoldFilter,
        FailureFilter,
    )
    actions = tuple(map(_list_action, bulk_actions()))
    list_before_template = "console/tabs.html"

    # The names of the addresses to which the page of a saga sends its buttons.
    address_names: ClassVar = {
        "act": "console:saga_act",
        "by_hand": "console:saga_by_hand",
        "export": "console:saga_export",
    }

    @property
    def search_help_text(self) -> str:  # type: ignore[override]  # Django only reads it
        """Return the help of the search box. It is read late, after all kinds are registered."""
        return self.kind.search_help

    def load_detail(self, row: Any) -> SagaDetail:
        """Read a saga from all its services."""
        return load_saga_detail(row)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Tell whether this user may act on sagas."""
        return any(
            is_permitted(request.user, action.name, kinds=[self.kind]) for action in bulk_actions()
        )

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the actions that this user has the permission for.

        Django passes `action_location` from release 6.1 on.
        """
        location = {"action_location": action_location} if action_location else {}
        offered: dict[str, Any] = super().get_actions(request, **location)
        return {
            name: found
            for name, found in offered.items()
            if is_permitted(request.user, name, kinds=[self.kind])
        }

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Open the list on the sagas that need attention, if there are any."""
        found = tabs.tabs_of(request, self.kind)
        attention = found[0]
        if request.method == "GET" and not request.GET and attention.number:
            return redirect(attention.link)

        response: HttpResponse = super().changelist_view(
            request, {**(extra_context or {}), "tabs": found, "plural": self.kind.plural}
        )
        return response

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return a saga, read once per request."""
        found: dict[str, Any] = request.__dict__.setdefault("_sagas_read", {})
        if object_id not in found:
            found[object_id] = super().get_object(request, object_id, from_field)
        return found[object_id]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the saga in all its services."""
        row = self.get_object(request, object_id)
        context = self._context(request, row) if isinstance(row, TrackedSaga) else {}
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )
        return response

    def _context(self, request: HttpRequest, row: TrackedSaga) -> dict[str, Any]:
        detail = self.load_detail(row)

        held_steps = {
            message.row.step: message.row.destination
            for message in detail.received
            if message.row.state == Inbox.State.HELD
        }
        # The home knows of every hold; a service with a held step knows of its own.
        asked = {service_name(step) for step in held_steps} | {detail.plan.home}
        reader = PartialReader()
        held = hold_of(row, sorted(asked), reader=reader)
        of_steps = [] if held else step_holds(held_steps, reader=reader)
        released = [step for step in held_steps if step not in {hold.step for hold in of_steps}]
        holds_unknown = [] if held else reader.unreachable

        may_mark = is_permitted(request.user, MarkDone.name)
        actions = order_page_actions(detail, on_hold=None if holds_unknown else held is not None)
        addresses = {
            name: reverse(address, args=[row.pk]) for name, address in self.address_names.items()
        }
        return {
            "detail": detail,
            "related": related_facts(row, request.user, PartialReader(detail.unreachable)),
            "addresses": addresses,
            "held": held,
            "step_holds": of_steps,
            "released_steps": [] if held or holds_unknown else released,
            "holds_unknown": holds_unknown,
            "actions": [one for one in actions if is_permitted(request.user, one.name)],
            "answerable": [
                wait
                for wait in find_open_waits(detail.plan, (each.row for each in detail.received))
                if decide(
                    request.user, signal_action(type(row), wait.step), kinds=[self.kind]
                ).allowed
            ],
            "proposals": offered_proposals(row, request.user),
            "markable": list(steps_to_mark_done(detail)) if may_mark else [],
            "history": LogEntry.objects.filter(order_id=row.pk).order_by("-id")[:HISTORY],
        }


def load_detail(row: TrackedSaga) -> SagaDetail:
    """Read a saga from all its services, as the page of its kind shows it."""
    model_admin = admin.site._registry.get(type(row))
    if isinstance(model_admin, SagaAdmin):
        return model_admin.load_detail(row)
    return load_saga_detail(row)


def register_kinds() -> None:
    """Register `SagaAdmin` for each kind whose model has no admin yet."""
    for kind in all_kinds():
        if not admin.site.is_registered(kind.model):
            admin.site.register(kind.model, SagaAdmin)


def register_messages() -> None:
    """Register the lists of outbox and inbox for each service that has registered none."""
    for name in service_names():
        for table, model_admin in MESSAGES.items():
            model = table_model(name, table)
            if not admin.site.is_registered(model):
                admin.site.register(model, model_admin)
