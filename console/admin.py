"""What the console shows in the admin besides its own pages: orders, payments, users and failed tasks, in one look."""

import re
from typing import Any
from uuid import UUID

import knox.models
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

import payments.admin
from console.dossier import dossier_of
from console.failures import Failures, failures
from console.models import Action, LogEntry, Run
from console.runs import MOST_ORDERS, radius_now
from console.templatetags.console import money
from console.views import drafted, progress_of
from orders.models import Order
from orders.status import Status
from payments.models import Payment
from sagas.admin import OlderThanFilter, ReadOnlyAdmin, preformatted
from sagas.wording import age

__all__ = ["GroupAdmin", "LogEntryAdmin", "OrderAdmin", "PaymentAdmin", "RunAdmin", "TaskResultAdmin", "UserAdmin"]

# Tokens are issued by the API and `create_token`; nothing here keeps results of groups.
admin.site.unregister([User, Group, Payment, TaskResult, GroupResult, knox.models.get_token_model()])

admin.site.index_template = "console/start.html"
admin.site.index_title = "Now"

# The theme's colours by what a state means to an operator.
STATUS = {
    "pending": "info",
    "paid": "info",
    "reserved": "info",
    "fulfilled": "success",
    "cancelling": "warning",
    "cancelled": "primary",
}
PAYMENT = {"pending": "warning", "captured": "success", "declined": "primary", "refunded": "primary", "void": "primary"}

RUN = {"draft": "info", "awaiting approval": "warning", "running": "info", "ended": "success", "declined": "primary"}

SAGA_IN_ARGUMENTS = re.compile(r"saga\W+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
LINKS = 20
HISTORY = 50


class FailureFilter(admin.SimpleListFilter):
    """Orders one of whose steps fails like this."""

    title = "failure"
    parameter_name = "failure"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Order], model_admin: Any) -> None:
        wanted = self.parameter_name in params
        self.found = failures() if wanted else Failures(groups=[], unreachable=[], complete=True)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name the failures there are now; the page of failures leads here."""
        return [(group.key, f"{group.step}: {Truncator(group.shape).chars(60)}") for group in self.found.groups]

    def has_output(self) -> bool:
        """Hold the filter also where nothing fails like that any more: then there is no order."""
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        """Keep the orders of the failure."""
        if self.value() is None:
            return queryset
        group = self.found.called(str(self.value()))
        return queryset.filter(id__in=group.sagas if group else ())


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders; the page of one shows it in all its services."""

    change_form_template = "console/order.html"
    list_display = ("id", "user", "state", "price", "failure_code", "attention", "placed", "open_since")
    list_filter = ("status", "needs_attention", OlderThanFilter, FailureFilter)
    list_select_related = ("user",)
    ordering = ("-id",)
    search_fields = ("id",)  # shows the box; the search itself is below
    search_help_text = "Order id, or the name of its user."
    actions = ("try_again", "publish_again", "cancel")
    list_before_template = "console/attention.html"

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether this user may act on orders."""
        return request.user.has_perm("console.add_run")

    @admin.action(description="Try again now", permissions=("operate",))
    def try_again(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that tries every open step of these orders again."""
        return self._draft(request, queryset, Action.RETRY)

    @admin.action(description="Publish again", permissions=("operate",))
    def publish_again(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that sends every message of these orders again."""
        return self._draft(request, queryset, Action.PUBLISH)

    @admin.action(description="Cancel and undo", permissions=("operate",))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Make a draft that calls these orders off."""
        return self._draft(request, queryset, Action.CANCEL)

    def _draft(self, request: HttpRequest, queryset: QuerySet[Order], action: Action) -> HttpResponse | None:
        orders = list(queryset.order_by("id").values_list("id", flat=True)[: MOST_ORDERS + 1])
        return drafted(request, action, orders)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find by id where the term is one, else by the user's name: both use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            return queryset.filter(user__username=term), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the order's dossier."""
        order = self.get_object(request, object_id)
        gathered = (
            {
                "dossier": dossier_of(order),
                "actions": _offered(order) if self.has_operate_permission(request) else [],
                "history": LogEntry.objects.filter(order_id=order.pk).order_by("-id")[:HISTORY],
            }
            if isinstance(order, Order)
            else {}
        )
        shown: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **gathered})
        return shown

    @display(description="status", label=STATUS, ordering="status")
    def state(self, order: Order) -> str:
        """Show the status."""
        return order.status

    @admin.display(description="amount", ordering="amount")
    def price(self, order: Order) -> str:
        """Show the amount in its currency."""
        return money(order.amount, order.currency)

    @display(description="attention", label={"needs attention": "danger"}, empty_value="")
    def attention(self, order: Order) -> str | None:
        """Say that a person must look at it, and nothing otherwise."""
        return "needs attention" if order.needs_attention else None

    @admin.display(description="placed (UTC)", ordering="id")
    def placed(self, order: Order) -> str:
        """Show when it was placed."""
        return f"{order.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="open since", empty_value="")
    def open_since(self, order: Order) -> str | None:
        """Say for how long its saga has been open."""
        return None if order.ended_at else age(order.created_at)


def _offered(order: Order) -> list[tuple[str, str]]:
    """Return what may be done to an order: nothing once it has ended, and no way back where there is none."""
    if order.ended_at:
        return []
    back = order.status not in {Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}
    return [(action.value, action.label) for action in Action if back or action is not Action.CANCEL]


@admin.register(Payment)
class PaymentAdmin(payments.admin.PaymentAdmin):
    """Payments, with amounts as people read them."""

    list_display = ("order_id", "state", "price", "refunded", "charge_id", "created_at")

    @display(description="status", label=PAYMENT, ordering="status")
    def state(self, payment: Payment) -> str:
        """Show the status."""
        return payment.status

    @admin.display(description="amount", ordering="amount")
    def price(self, payment: Payment) -> str:
        """Show the amount in its currency."""
        return money(payment.amount, payment.currency)

    @admin.display(description="refunded", ordering="refunded_amount", empty_value="")
    def refunded(self, payment: Payment) -> str | None:
        """Show what was given back, if anything was."""
        return money(payment.refunded_amount, payment.currency) if payment.refunded_amount else None


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Tasks that failed, with their traceback and the orders they were about. Kept for 30 days."""

    list_display = ("task_name", "state", "said", "worker", "done")
    list_filter = ("status", "task_name")
    ordering = ("-id",)
    search_fields = ("task_id",)
    search_help_text = "Task id."
    fields = ("task_name", "task_id", "status", "worker", "date_done", "orders", "result", "trace", "arguments")
    readonly_fields = ("orders", "trace", "arguments")

    @display(description="state", label={"FAILURE": "danger", "RETRY": "warning", "REVOKED": "warning"})
    def state(self, task: TaskResult) -> str:
        """Show the state."""
        return str(task.status)

    @admin.display(description="error")
    def said(self, task: TaskResult) -> str:
        """Show the beginning of what was raised."""
        return (task.result or "")[:100]

    @admin.display(description="when", ordering="id")
    def done(self, task: TaskResult) -> str:
        """Say how long ago that was."""
        return age(task.date_done)

    @admin.display(description="orders")
    def orders(self, task: TaskResult) -> SafeString:
        """Link to the orders whose messages the task was given."""
        found = dict.fromkeys(SAGA_IN_ARGUMENTS.findall(f"{task.task_args} {task.task_kwargs}"))
        links = ((reverse("admin:orders_order_change", args=[order]), order) for order in list(found)[:LINKS])
        return format_html_join(" ", '<a class="underline" href="{}">{}</a>', links) or SafeString("none named")

    @admin.display(description="traceback")
    def trace(self, task: TaskResult) -> SafeString:
        """Show the traceback."""
        return preformatted(task.traceback or "none")

    @admin.display(description="arguments")
    def arguments(self, task: TaskResult) -> SafeString:
        """Show what the task was given."""
        return preformatted(f"{task.task_args}\n{task.task_kwargs}")


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """What operators have had done to orders; the page of one previews it, or shows how far it is."""

    change_form_template = "console/run.html"
    list_display = ("action", "stands", "requested_by", "decided_by", "reason", "made")
    list_filter = ("state", "action")
    list_select_related = ("requested_by", "decided_by")
    ordering = ("-id",)
    search_fields = ("reason__icontains", "requested_by__username")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Preview a run that has not started, or show what has come of it."""
        run = self.get_object(request, object_id)
        gathered = self._gathered(request, run) if isinstance(run, Run) else {}
        shown: HttpResponse = super().change_view(request, object_id, form_url, {**(extra_context or {}), **gathered})
        return shown

    def _gathered(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        mine = run.requested_by_id == request.user.pk
        waits = run.state in {Run.State.DRAFT, Run.State.AWAITING}
        return {
            **progress_of(run),
            "radius": radius_now(run) if waits else None,
            "may_confirm": run.state == Run.State.DRAFT and mine and request.user.has_perm("console.add_run"),
            "may_decide": run.state == Run.State.AWAITING and not mine and request.user.has_perm("console.approve_run"),
        }

    @display(description="state", ordering="state", label=RUN)
    def stands(self, run: Run) -> str:
        """Show the state."""
        return run.get_state_display()

    @admin.display(description="made", ordering="id")
    def made(self, run: Run) -> str:
        """Say how long ago it was made."""
        return age(run.created_at)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    """Who did what, why, when, and what came of it: only ever added to."""

    list_display = ("when", "who", "what", "action", "order_id", "why", "outcome")
    list_filter = ("what", "action")
    ordering = ("-id",)
    search_fields = ("order_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, run id, or the name of who did it."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        """Find by order or run where the term is an id, else by name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term)) | Q(run=UUID(term))), False
        except ValueError:
            return queryset.filter(who=term), False

    @admin.display(description="when (UTC)", ordering="id")
    def when(self, entry: LogEntry) -> str:
        """Show when it was written."""
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Users, in the console's look."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups, in the console's look."""
