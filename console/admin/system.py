"""Failed tasks, users and groups, in the console's look; and what is not to be seen here at all."""

from typing import Any
from uuid import UUID

import knox.models
from celery import current_app
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from console.failures.tracebacks import orders_of, tasks_about
from sagas.admin.changelist import BoundedPaginator, NewestFilter, ReadOnlyAdmin, among_newest
from sagas.admin.formatting import age
from sagas.admin.messages import preformatted

__all__ = ["GroupAdmin", "TaskResultAdmin", "UserAdmin"]

# Tokens are issued by the API and `create_token`; nothing here keeps results of groups.
admin.site.unregister([User, Group, TaskResult, GroupResult, knox.models.get_token_model()])

# Orders of one task that its page links to; tasks of one order that a search for it finds.
LINKS = 20
MOST_FOUND = 1_000


class TaskNameFilter(admin.SimpleListFilter):
    """Failures of one task; offered are those there are, for which no failure need be looked at."""

    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the project's own tasks."""
        return [
            (name, name) for name in sorted(current_app.tasks) if not name.startswith("celery.")
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TaskResult]
    ) -> QuerySet[TaskResult]:
        """Keep the failures of the task."""
        return among_newest(queryset.filter(task_name=self.value())) if self.value() else queryset


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Tasks that failed, with their traceback and the orders they were about. Kept for 30 days."""

    list_display = ("task_name", "state", "said", "worker", "done")
    list_filter = (("status", NewestFilter), TaskNameFilter)
    ordering = ("-id",)
    search_fields = ("task_id",)  # shows the box; the search itself is below
    search_help_text = "Order id, or task id."
    fields = (
        "task_name",
        "task_id",
        "status",
        "worker",
        "date_done",
        "orders",
        "result",
        "trace",
        "arguments",
    )
    readonly_fields = ("orders", "trace", "arguments")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TaskResult], search_term: str
    ) -> tuple[QuerySet[TaskResult], bool]:
        """Find by order or by task: both have ids of one kind."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            about = [task.pk for task in tasks_about(UUID(term), most=MOST_FOUND)]
        except ValueError:
            return queryset.filter(task_id=term), False
        return queryset.filter(Q(task_id=term) | Q(pk__in=about)), False

    @display(
        description="state", label={"FAILURE": "danger", "RETRY": "warning", "REVOKED": "warning"}
    )
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
        """Link to the orders that the task failed for."""
        links = (
            (reverse("admin:orders_order_change", args=[order]), order)
            for order in orders_of(task)[:LINKS]
        )
        return format_html_join(" ", '<a class="underline" href="{}">{}</a>', links) or SafeString(
            "none named"
        )

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
    show_full_result_count = False
    paginator = BoundedPaginator
    list_filter = ("is_staff", "is_superuser", "groups")
    search_fields = ("username__startswith",)
    search_help_text = "The beginning of a name."
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups, in the console's look."""
