"""The roles of staff: Django's groups, created after a migration where they are missing.

A domain adds its permissions to a group with `give`, when its app is ready.

A group that exists is left as it is, because an administrator may have changed its permissions.
Auditors are the exception: their view permissions are kept complete, and they have no others. An
auditor reads everything and writes nothing, also as a member of other groups.
"""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.apps.registry import Apps
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, User
from django.db import router
from django.db.models import Exists, OuterRef, Q

from sagas.storage.registry import service_names

__all__ = [
    "AUDITORS",
    "GROUPS",
    "audited",
    "audits",
    "give",
    "grant_auditors",
    "is_auditor",
    "make_groups",
    "remember_role",
]

AUDITORS = "auditors"

# The groups, and the permissions that they have beside those to view.
#
# An operator acts on sagas, and puts steps on hold. An approver decides on the runs of other
# people, puts steps on hold and releases them, but does not act on single sagas.
GROUPS: dict[str, list[str]] = {
    "viewer": [],
    "operator": ["console.add_run", "console.pause_step"],
    "approver": ["console.approve_run", "console.pause_step", "console.hold_step"],
}

# The groups that view every table of the services and of the console.
VIEWERS = frozenset(GROUPS)

# The attribute of a user instance that caches whether the user is an auditor.
CACHED_ROLE = "_audits"


def give(group: str, *permissions: str) -> None:
    """Let a group of a new database have permissions as well, such as `orders.view_product`."""
    known = GROUPS.setdefault(group, [])
    known += [permission for permission in permissions if permission not in known]


def audited() -> list[str]:
    """Return the apps whose tables staff see in the admin, without users, groups and logins."""
    return [*service_names(), "console", "staff", "django_celery_results"]


def audits(user: str) -> Exists:
    """Return a subquery: whether the user that a field refers to is an auditor."""
    return Exists(User.groups.through.objects.filter(user=OuterRef(user), group__name=AUDITORS))


def is_auditor(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Tell whether a user is an auditor. Queries once per instance, unless the role is cached."""
    if not isinstance(user, User):
        return False
    if not hasattr(user, CACHED_ROLE):
        remember_role(user, audits=user.groups.filter(name=AUDITORS).exists())
    return bool(getattr(user, CACHED_ROLE))


def remember_role(user: User, *, audits: bool) -> None:
    """Cache whether a user is an auditor. A lazy user of a request shares the cache of its user."""
    setattr(user, CACHED_ROLE, audits)


def make_groups(sender: Any, *, using: str, **_: Any) -> None:
    """Create the groups that are missing, once all permissions exist."""
    if using != router.db_for_write(Group):
        return
    for name in GROUPS:
        group, created = Group.objects.using(using).get_or_create(name=name)
        if created:
            group.permissions.set(Permission.objects.using(using).filter(_permitted(name)))


def grant_auditors(app_config: AppConfig, using: str, apps: Apps = all_apps, **_: Any) -> None:
    """Grant auditors the view permissions of an app. A receiver of post_migrate."""
    if app_config.label in audited() and using == "default" and "group" in apps.all_models["auth"]:
        views = Permission.objects.filter(
            content_type__app_label=app_config.label, codename__startswith="view_"
        )
        group, _created = Group.objects.get_or_create(name=AUDITORS)
        group.permissions.add(*views)


def _permitted(group: str) -> Q:
    """Return the condition of the permissions of a group."""
    # Without a permission, the condition must match none. An empty one would match all.
    permitted = Q(pk__in=())
    if group in VIEWERS:
        permitted |= Q(codename__startswith="view_", content_type__app_label__in=audited())
    for permission in GROUPS[group]:
        app, _, codename = permission.partition(".")
        permitted |= Q(content_type__app_label=app, codename=codename)
    return permitted
