"""Let no row of the log be changed or deleted, whoever asks for it."""

from django.db import migrations

CREATE = """
CREATE FUNCTION console_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The log of what operators did only grows: % refused.', TG_OP
    USING ERRCODE = 'check_violation', CONSTRAINT = 'console_log_only_grows', TABLE = 'console_logentry';
END
$$;

CREATE TRIGGER console_log_only_grows BEFORE UPDATE OR DELETE ON console_logentry
  FOR EACH ROW EXECUTE FUNCTION console_log_only_grows();
"""

DROP = """
DROP TRIGGER console_log_only_grows ON console_logentry;
DROP FUNCTION console_log_only_grows();
"""


class Migration(migrations.Migration):
    """Create the trigger."""

    dependencies = [("console", "0001_initial")]

    operations = [migrations.RunSQL(CREATE, DROP)]
