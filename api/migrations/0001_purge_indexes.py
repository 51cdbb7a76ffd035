"""Indexes by which the purges find old rows in the tables of installed packages."""

from django.db import migrations

# Index, table, column.
INDEXES = (
    ("api_token_expiry", "knox_authtoken", "expiry"),
    ("api_failed_login_time", "axes_accessattempt", "attempt_time"),
    ("api_admin_log_time", "django_admin_log", "action_time"),
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("axes", "0010_accessattemptexpiration"),
        ("knox", "0009_extend_authtoken_field"),
    ]

    operations = [
        migrations.RunSQL(f"CREATE INDEX {name} ON {table} ({column})", f"DROP INDEX {name}")
        for name, table, column in INDEXES
    ]
