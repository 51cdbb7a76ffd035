"""Put staff without any permission into groups that may do what staff could do over REST.

Until now, staff status alone let a user read everything and change products and stock there.
"""

from django.db import migrations
from django.db.models import Q

VIEWED = ("orders", "payments", "inventory", "console", "staff", "django_celery_results")
GROUPS = {
    "viewer": Q(codename__startswith="view_", content_type__app_label__in=VIEWED),
    "catalogue": Q(
        content_type__app_label="orders",
        codename__in=("view_product", "add_product", "change_product"),
    )
    | Q(
        content_type__app_label="inventory",
        codename__in=("view_stockitem", "view_stockadjustment", "add_stockadjustment"),
    ),
}


def keep_what_staff_could_do(apps, schema_editor):
    """Add them to the groups, which are created with their permissions where they are missing.

    A new database has no users, so it gets its groups later, once all permissions exist. A project
    that has just installed the console has users, and none of these permissions to keep.
    """
    user, group, permission = (
        apps.get_model("auth", name) for name in ("User", "Group", "Permission")
    )
    if not permission.objects.filter(GROUPS["catalogue"]).exists():
        return
    staff = user.objects.filter(
        is_staff=True, is_superuser=False, groups=None, user_permissions=None
    )
    members = list(staff)
    if not members:
        return
    for name, permitted in GROUPS.items():
        found, created = group.objects.get_or_create(name=name)
        if created:
            found.permissions.set(permission.objects.filter(permitted))
        found.user_set.add(*members)


class Migration(migrations.Migration):
    dependencies = [
        ("staff", "0003_log_chain"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunPython(keep_what_staff_could_do, migrations.RunPython.noop),
    ]
