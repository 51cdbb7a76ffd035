"""Refuse a change of a return's status that is not in `returns.status.TRANSITIONS`.

The trigger checks each writer: this service, an older release, and a person with SQL.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION returns_return_legal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.status, NEW.status) IN (
    ('requested', 'awaiting_approval'), ('requested', 'awaiting_goods'), ('requested', 'refunding'),
    ('requested', 'closing'), ('requested', 'refused'), ('requested', 'cancelled'),
    ('awaiting_approval', 'awaiting_goods'), ('awaiting_approval', 'refunding'), ('awaiting_approval', 'closing'),
    ('awaiting_approval', 'refused'), ('awaiting_approval', 'cancelled'),
    ('awaiting_goods', 'refunding'), ('awaiting_goods', 'closing'), ('awaiting_goods', 'refused'),
    ('awaiting_goods', 'cancelled'),
    ('closing', 'refused'), ('closing', 'cancelled'),
    ('refunding', 'completed')
  ) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'return % is % and cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'returns_legal_transition', TABLE = 'returns_return';
END
$$;

CREATE TRIGGER returns_legal_transition BEFORE UPDATE ON returns_return
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION returns_return_legal_transition();
"""

DROP = """
DROP TRIGGER returns_legal_transition ON returns_return;
DROP FUNCTION returns_return_legal_transition();
"""

# Tables whose rows are updated soon after they were written: see the same migration of orders.
CHURNED = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000"
TABLES = ("returns_outbox", "returns_inbox")


class Migration(migrations.Migration):
    """Create the trigger, and have the messages vacuumed often."""

    dependencies = [("returns", "0001_initial")]

    operations = [
        migrations.RunSQL(CREATE, DROP),
        *(
            migrations.RunSQL(
                f"ALTER TABLE {table} SET ({CHURNED})",
                f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
            )
            for table in TABLES
        ),
    ]
