"""Keep with each entry of the log what failed, to find what was done about it; and let go of the log after a year."""

from django.db import migrations, models

FUNCTION = """
CREATE OR REPLACE FUNCTION console_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {exception}
  RAISE EXCEPTION 'The log of what operators did only grows: % refused.', TG_OP
    USING ERRCODE = 'check_violation', CONSTRAINT = 'console_log_only_grows', TABLE = 'console_logentry';
END
$$;
"""
AFTER_A_YEAR = FUNCTION.format(
    exception="IF TG_OP = 'DELETE' AND OLD.at < now() - interval '365 days' THEN RETURN OLD; END IF;"
)
NEVER = FUNCTION.format(exception="")


class Migration(migrations.Migration):
    """Add the columns and their index, and replace the trigger's function."""

    dependencies = [("console", "0002_log_only_grows")]

    operations = [
        migrations.AddField(
            model_name="logentry",
            name="failure",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The key of what failed for the order then.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="logentry",
            name="about",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="What failed, as all that fail so say."
            ),
        ),
        migrations.AddIndex(
            model_name="logentry",
            index=models.Index(
                condition=models.Q(("failure", ""), _negated=True),
                fields=["failure", "id"],
                name="console_log_failure",
            ),
        ),
        migrations.AddIndex(
            model_name="logentry", index=models.Index(fields=["who", "id"], name="console_log_who")
        ),
        migrations.RunSQL(AFTER_A_YEAR, NEVER),
    ]
