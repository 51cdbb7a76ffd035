"""Who may do what in the console: three groups, made after each migration where they are missing.

What an administrator has given a group or taken from it stays; only a group that is not there is made.
"""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import router
from django.db.models import Q

__all__ = ["GROUPS", "make_groups"]

SHOWN = ("orders", "payments", "inventory", "console", "django_celery_results")
VIEW = Q(codename__startswith="view_", content_type__app_label__in=SHOWN)

# An operator acts on orders and messages; an approver decides on what another has requested, and acts on nothing.
GROUPS = {
    "viewer": VIEW,
    "operator": VIEW
    | Q(content_type__app_label="console", codename="add_run")
    | Q(
        content_type__app_label__in=("orders", "payments", "inventory"), codename__in=("change_outbox", "change_inbox")
    ),
    "approver": VIEW | Q(content_type__app_label="console", codename="approve_run"),
}


def make_groups(sender: Any, *, using: str, **_: Any) -> None:
    """Make the groups that are missing, once all permissions are there."""
    if using != router.db_for_write(Group):
        return
    for name, permitted in GROUPS.items():
        group, new = Group.objects.using(using).get_or_create(name=name)
        if new:
            group.permissions.set(Permission.objects.using(using).filter(permitted))
