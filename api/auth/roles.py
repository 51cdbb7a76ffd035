"""Who a user is here: a customer, staff, or an auditor, who sees what staff see and changes
nothing.

Auditors are the members of a group, which holds Django's view permissions of the services' tables
for the pages of the admin. Membership goes before everything else: staff who join the group only
read.
"""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.apps.registry import Apps
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, User
from django.db.models import Exists, OuterRef

__all__ = [
    "AUDITED",
    "AUDITORS",
    "audits",
    "grant_auditors",
    "is_auditor",
    "note_role",
    "reads_everything",
]

AUDITORS = "auditors"

# The apps whose tables auditors see in the admin.
AUDITED = ("orders", "payments", "inventory")


# Where a user's row in memory keeps what is known of its role.
NOTED = "_audits"


def audits(user: str) -> Exists:
    """Return whether the user that a field refers to is an auditor, as part of a query that is
    made anyway.
    """
    return Exists(User.groups.through.objects.filter(user=OuterRef(user), group__name=AUDITORS))


def is_auditor(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Tell whether a user may only read. Asked for once, unless the query for the token has told
    it.
    """
    if not isinstance(user, User):
        return False
    if NOTED not in vars(user):
        note_role(user, audits=user.groups.filter(name=AUDITORS).exists())
    return bool(vars(user)[NOTED])


def note_role(user: User, *, audits: bool) -> None:
    """Note whether a user is an auditor, where a query has told it."""
    vars(user)[NOTED] = audits


def reads_everything(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Tell whether a user sees what others ordered."""
    return isinstance(user, User) and (user.is_staff or is_auditor(user))


def grant_auditors(app_config: AppConfig, using: str, apps: Apps = all_apps, **_: Any) -> None:
    """Give auditors the view permissions of an app that was migrated just now, if there are
    permissions yet.
    """
    if app_config.label in AUDITED and using == "default" and "group" in apps.all_models["auth"]:
        views = Permission.objects.filter(
            content_type__app_label=app_config.label, codename__startswith="view_"
        )
        group, _created = Group.objects.get_or_create(name=AUDITORS)
        group.permissions.add(*views)
