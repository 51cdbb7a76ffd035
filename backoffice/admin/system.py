"""Users, groups and failed logins in the admin. Tokens and group results have no page."""

from collections.abc import Sequence
from typing import Any

import knox.models
from axes import admin as axes_admin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django_celery_results.models import GroupResult
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from sagas.admin.changelist import BoundedPaginator
from sagas.contrib.unfold import KnownRowsAdmin
from staff.logged_admin import LoggedAdmin

__all__ = ["GroupAdmin", "UserAdmin"]

# The API and `create_token` issue tokens, and no task of this project has group results.
admin.site.unregister([User, Group, GroupResult, knox.models.get_token_model()])
admin.site.unregister([AccessAttempt, AccessFailureLog, AccessLog])


@admin.register(User)
class UserAdmin(KnownRowsAdmin, DjangoUserAdmin, ModelAdmin):
    """Users."""

    form = UserChangeForm
    add_form = UserCreationForm
    show_full_result_count = False
    paginator = BoundedPaginator
    list_filter = ("is_staff", "is_superuser", "groups")
    search_fields = ("username__startswith",)
    search_help_text = "The beginning of a user name."
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(KnownRowsAdmin, DjangoGroupAdmin, ModelAdmin):
    """Groups."""


class _FailedLoginsAdmin(LoggedAdmin, KnownRowsAdmin):
    """Rows of django-axes. The log names a user by number, because it may be a customer."""

    actions = ()  # without a clean-up that every viewer of the page may start

    def describe(self, rows: Sequence[Any]) -> list[str]:
        """Return rows in words, with the numbers of their users."""
        names = {row.username for row in rows if row.username}
        users = dict(User.objects.filter(username__in=names).values_list("username", "pk"))
        return [
            f"{described} of user {users[row.username]}" if row.username in users else described
            for row, described in zip(rows, super().describe(rows), strict=True)
        ]


@admin.register(AccessAttempt)
class AccessAttemptAdmin(_FailedLoginsAdmin, axes_admin.AccessAttemptAdmin):
    """Failed logins. Deleting one lets its user log in again before the lockout has ended."""


@admin.register(AccessLog)
class AccessLogAdmin(_FailedLoginsAdmin, axes_admin.AccessLogAdmin):
    """Logins."""


@admin.register(AccessFailureLog)
class AccessFailureLogAdmin(_FailedLoginsAdmin, axes_admin.AccessFailureLogAdmin):
    """Failed logins that are kept after the lockout."""
