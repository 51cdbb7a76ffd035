"""Let no order change its status in a way that `orders.status.TRANSITIONS` does not allow, whatever writes it."""

from django.db import migrations

CREATE = """
CREATE FUNCTION orders_order_legal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.status, NEW.status) IN (
    ('pending', 'paid'), ('pending', 'reserved'), ('pending', 'fulfilled'), ('pending', 'cancelling'),
    ('pending', 'cancelled'),
    ('paid', 'reserved'), ('paid', 'fulfilled'), ('paid', 'cancelling'), ('paid', 'cancelled'),
    ('reserved', 'fulfilled'), ('reserved', 'cancelling'), ('reserved', 'cancelled'),
    ('cancelling', 'cancelled')
  ) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'order % is % and cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_legal_transition', TABLE = 'orders_order';
END
$$;

CREATE TRIGGER orders_legal_transition BEFORE UPDATE ON orders_order
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION orders_order_legal_transition();
"""

DROP = """
DROP TRIGGER orders_legal_transition ON orders_order;
DROP FUNCTION orders_order_legal_transition();
"""


class Migration(migrations.Migration):
    """Create the trigger."""

    dependencies = [("orders", "0001_initial")]

    operations = [migrations.RunSQL(CREATE, DROP)]
