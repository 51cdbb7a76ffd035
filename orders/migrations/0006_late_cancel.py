"""Let an order go from cancelling to fulfilled where its pivot lies outside orders: there a cancel can come too late."""

from django.db import migrations

LATE = """OR (OLD.status, NEW.status) = ('cancelling', 'fulfilled')
     AND jsonb_path_exists(NEW.plan, '$.steps[*] ? (@.pivot == true && !(@.name starts with "orders."))')
  """

REPLACE = """
CREATE OR REPLACE FUNCTION orders_order_legal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.status, NEW.status) IN (
    ('pending', 'paid'), ('pending', 'reserved'), ('pending', 'fulfilled'), ('pending', 'cancelling'),
    ('pending', 'cancelled'),
    ('paid', 'reserved'), ('paid', 'fulfilled'), ('paid', 'cancelling'), ('paid', 'cancelled'),
    ('reserved', 'fulfilled'), ('reserved', 'cancelling'), ('reserved', 'cancelled'),
    ('cancelling', 'cancelled')
  ) {late}THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'order % is % and cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_legal_transition', TABLE = 'orders_order';
END
$$
"""


class Migration(migrations.Migration):
    """Replace the function of the trigger."""

    dependencies = [("orders", "0005_storage")]

    operations = [migrations.RunSQL(REPLACE.format(late=LATE), REPLACE.format(late=""))]
