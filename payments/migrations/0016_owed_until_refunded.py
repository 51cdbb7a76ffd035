"""Clear the owed amount when a worker of the last release, which does not know the column, records the refund.

Otherwise a constraint refuses the update, with those of all other payments in its batch.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION payments_payment_owed_until_refunded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.owed_amount := 0;
  RETURN NEW;
END
$$;
CREATE TRIGGER payments_payment_owed_until_refunded
BEFORE UPDATE OF status ON payments_payment FOR EACH ROW
WHEN (NEW.status = 'refunded' AND NEW.owed_amount > 0 AND NEW.owed_amount = OLD.owed_amount)
EXECUTE FUNCTION payments_payment_owed_until_refunded()
"""

DROP = """
DROP TRIGGER payments_payment_owed_until_refunded ON payments_payment;
DROP FUNCTION payments_payment_owed_until_refunded()
"""


class Migration(migrations.Migration):
    """Create the trigger."""

    dependencies = [("payments", "0015_balance_due")]

    operations = [migrations.RunSQL(CREATE, DROP)]
