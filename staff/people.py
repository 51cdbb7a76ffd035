"""Changes of users, groups and permissions: they are in the log, and end access where they must.

The signals of the models cover the admin, the commands of Django, and a shell. `QuerySet.update`
sends none, so no code of this project changes users with it.
"""

import logging
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.hashers import identify_hasher
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver

from staff import log
from staff.access import end_access
from staff.context import current_origin
from staff.logins import is_member_of_staff
from staff.models import LogEntry

__all__ = ["changes_of", "users_in_words"]

logger = logging.getLogger(__name__)

FLAGS = ("is_active", "is_staff", "is_superuser")
# Only that these have changed is logged: they are about a person, or secret.
PRIVATE = ("email", "first_name", "last_name", "password")
WATCHED = ("username", *FLAGS, *PRIVATE)

BEFORE = "_before_save"


@receiver(pre_save, sender=User)
def remember_user(instance: User, raw: bool, update_fields: Iterable[str] | None, **_: Any) -> None:
    """Remember the stored user, to compare it with the saved one."""
    is_watched = update_fields is None or not set(update_fields).isdisjoint(WATCHED)
    stored = None
    if is_watched and instance.pk is not None:
        stored = User.objects.filter(pk=instance.pk).values(*WATCHED).first()
    vars(instance)[BEFORE] = stored


@receiver(post_save, sender=User)
def note_user(instance: User, created: bool, update_fields: Iterable[str] | None, **_: Any) -> None:
    """End access after a new password or a deactivation, and log the change."""
    before = vars(instance).pop(BEFORE, None)
    if created:
        rights = ", ".join(name for name in FLAGS if getattr(instance, name))
        _log("add_user", _subject(instance), f"{_named(instance)}Added: {rights or 'inactive'}.")
        return
    if before is None:
        return

    saved = set(update_fields) if update_fields is not None else set(WATCHED)
    changed = {name for name in saved & set(WATCHED) if before[name] != getattr(instance, name)}
    if changed == {"password"} and _is_rehash(instance, before["password"], saved):
        return
    if "password" in changed or ("is_active" in changed and not instance.is_active):
        end_access(instance.pk)
    if changed:
        _log("change_user", _subject(instance), _named(instance) + changes_of(before, instance))


@receiver(post_delete, sender=User)
def note_deleted_user(instance: User, **_: Any) -> None:
    """Log that a user was deleted."""
    _log("delete_user", _subject(instance), f"{_named(instance, with_groups=False)}Deleted.")


@receiver(post_save, sender=Group)
def note_group(instance: Group, created: bool, **_: Any) -> None:
    """Log a new or renamed group."""
    action = "add_group" if created else "change_group"
    _log(action, f"group {instance.pk}", f"Its name is {instance.name}.")


@receiver(post_delete, sender=Group)
def note_deleted_group(instance: Group, **_: Any) -> None:
    """Log that a group was deleted."""
    _log("delete_group", f"group {instance.pk}", f"{instance.name} was deleted.")


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
@receiver(m2m_changed, sender=Group.permissions.through)
def note_permissions(
    sender: type[Model],
    instance: User | Group | Permission,
    action: str,
    model: type[Model],
    pk_set: set[Any] | None,
    **_: Any,
) -> None:
    """Log which groups or permissions a user or a group has got or lost."""
    words = {"post_add": "added", "post_remove": "removed", "pre_clear": "all removed"}
    if action not in words or (pk_set is not None and not pk_set):
        return

    kind = str(model._meta.verbose_name_plural)
    names = ""
    if pk_set is not None:
        found = model._default_manager.filter(pk__in=pk_set)
        names = ": " + ", ".join(sorted(_short(each) for each in found))
    named = _named(instance) if isinstance(instance, User) else f"{_short(instance)}: "
    _log("change_permissions", _subject(instance), f"{named}{kind} {words[action]}{names}.")


def changes_of(before: dict[str, Any], user: User) -> str:
    """Return the changes of a user as a sentence, without private values."""
    changes = []
    for name in WATCHED:
        old, new = before[name], getattr(user, name)
        if old == new:
            continue
        if name in PRIVATE:
            changes.append(f"{name} changed")
        elif name in FLAGS:
            changes.append(f"{name}: {_yes(old)} → {_yes(new)}")
        else:
            shown = f": {old} → {new}" if is_member_of_staff(user) else " changed"
            changes.append(f"{name}{shown}")
    return "; ".join(changes) + "."


def users_in_words(*names: str) -> str:
    """Return users by number, because the log does not name customers."""
    known = dict(User.objects.filter(username__in=names).values_list("username", "pk"))
    return ", ".join(f"user {known[name]}" if name in known else "no user" for name in names)


def _is_rehash(user: User, before: str, saved: set[str]) -> bool:
    """Tell whether a login has only stored the same password with the present algorithm.

    See `check_password` of Django's AbstractBaseUser.
    """
    if saved != {"password"} or user._password is not None:  # type: ignore[attr-defined]  # Django's own
        return False
    try:
        hasher = identify_hasher(before)
        preferred = identify_hasher(user.password)
    except ValueError:
        return False
    return hasher.algorithm != preferred.algorithm or hasher.must_update(before)


def _log(action: str, subject: str, outcome: str) -> None:
    origin = current_origin()
    if origin is not None:
        about: log.About = {"subject": subject, "outcome": outcome}
        log.record(origin.actor, LogEntry.Kind.DONE, action, about, via=origin.via)


def _subject(row: Model) -> str:
    return f"{row._meta.verbose_name} {row.pk}"


def _named(user: User, *, with_groups: bool = True) -> str:
    """Return the name of a member of staff, and nothing for a customer."""
    is_staff = user.is_staff or user.is_superuser or (with_groups and is_member_of_staff(user))
    return f"{user.get_username()}: " if is_staff else ""


def _short(row: Model) -> str:
    """Return the name of a group or a permission; the number of a user."""
    if isinstance(row, Group):
        return row.name
    if isinstance(row, Permission):
        return f"{row.content_type.app_label}.{row.codename}"
    return str(row.pk)


def _yes(value: object) -> str:
    return "yes" if value else "no"
