"""What the console shows in the admin besides its own pages: orders, payments, users and failed tasks, in one look."""

import re
from typing import Any
from uuid import UUID

import knox.models
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

import payments.admin
from console.dossier import dossier_of
from console.templatetags.console import money
from orders.models import Order
from payments.models import Payment
from sagas.admin import OlderThanFilter, ReadOnlyAdmin, preformatted
from sagas.wording import age

__all__ = ["GroupAdmin", "OrderAdmin", "PaymentAdmin", "TaskResultAdmin", "UserAdmin"]

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

SAGA_IN_ARGUMENTS = re.compile(r"saga\W+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
LINKS = 20


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders; the page of one shows it in all its services."""

    change_form_template = "console/order.html"
    list_display = ("id", "user", "state", "price", "failure_code", "attention", "placed", "open_since")
    list_filter = ("status", "needs_attention", OlderThanFilter)
    list_select_related = ("user",)
    ordering = ("-id",)
    search_fields = ("id",)  # shows the box; the search itself is below
    search_help_text = "Order id, or the name of its user."

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
        gathered = {"dossier": dossier_of(order)} if isinstance(order, Order) else {}
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


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Users, in the console's look."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups, in the console's look."""
