"""The role of a user: customer, staff or auditor. Auditors read like staff, but write nothing.

Auditors are the members of a group. For the admin, the group has Django's view permissions of the
services' tables. Membership takes precedence: staff who join the group can only read.
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
    "reads_everything",
    "remember_role",
]

AUDITORS = "auditors"

# The apps whose tables auditors see in the admin.
AUDITED = ("orders", "payments", "inventory")


# The attribute of a user instance that caches whether the user is an auditor.
CACHED_ROLE = "_audits"


def audits(user: str) -> Exists:
    """Return a subquery: whether the user that a field refers to is an auditor."""
    return Exists(User.groups.through.objects.filter(user=OuterRef(user), group__name=AUDITORS))


def is_auditor(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Tell whether a user is an auditor. Queries once per instance, unless the role is cached."""
    if not isinstance(user, User):
        return False
    if CACHED_ROLE not in vars(user):
        remember_role(user, audits=user.groups.filter(name=AUDITORS).exists())
    return bool(vars(user)[CACHED_ROLE])


def remember_role(user: User, *, audits: bool) -> None:
    """Cache whether a user is an auditor."""
    vars(user)[CACHED_ROLE] = audits


def reads_everything(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Tell whether a user may read the data of all customers."""
    return isinstance(user, User) and (user.is_staff or is_auditor(user))


def grant_auditors(app_config: AppConfig, using: str, apps: Apps = all_apps, **_: Any) -> None:
    """Grant auditors the view permissions of an app. A receiver of post_migrate."""
    if app_config.label in AUDITED and using == "default" and "group" in apps.all_models["auth"]:
        views = Permission.objects.filter(
            content_type__app_label=app_config.label, codename__startswith="view_"
        )
        group, _created = Group.objects.get_or_create(name=AUDITORS)
        group.permissions.add(*views)
