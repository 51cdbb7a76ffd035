"""Chain the log: number and hash for each entry, also for entries that an earlier release adds.

`staff.chain` computes the same hash in Python. The log can be read while this runs; entries are
added after it.
"""

from django.db import migrations, models

PREPARE = """
SET LOCAL statement_timeout = 0;
LOCK TABLE console_logentry IN SHARE ROW EXCLUSIVE MODE;
"""

# Each value has its length in front, so that two different entries never have the same text.
HASH = r"""
CREATE FUNCTION console_log_field(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT COALESCE(octet_length(convert_to(value, 'UTF8')) || ':' || value, '-')
$$;

CREATE FUNCTION console_log_hash(previous bytea, entry console_logentry) RETURNS bytea
LANGUAGE sql STABLE AS $$
  SELECT sha256(previous || convert_to(
    console_log_field('1') || ',' ||
    console_log_field(entry.seq::text) || ',' ||
    console_log_field(entry.id::text) || ',' ||
    console_log_field(round(extract(epoch FROM entry.at) * 1000000)::bigint::text) || ',' ||
    console_log_field(entry.who) || ',' ||
    console_log_field(entry.what) || ',' ||
    console_log_field(entry.action) || ',' ||
    console_log_field(entry.step) || ',' ||
    console_log_field(entry.run::text) || ',' ||
    console_log_field(entry.order_id::text) || ',' ||
    console_log_field(entry.via) || ',' ||
    console_log_field(entry.subject) || ',' ||
    console_log_field(entry.approver) || ',' ||
    console_log_field(entry.address) || ',' ||
    console_log_field(entry.why) || ',' ||
    console_log_field(entry.outcome) || ',' ||
    console_log_field(entry.failure) || ',' ||
    console_log_field(entry.about),
    'UTF8'))
$$;
"""

CHAIN_EXISTING = r"""
ALTER TABLE console_logentry DISABLE TRIGGER console_log_only_grows;

DO $$
DECLARE
  entry console_logentry;
  number bigint := 0;
  last bytea := decode(repeat('00', 32), 'hex');
BEGIN
  FOR entry IN SELECT * FROM console_logentry ORDER BY id LOOP
    number := number + 1;
    entry.seq := number;
    last := console_log_hash(last, entry);
    UPDATE console_logentry SET seq = number, hash = last WHERE id = entry.id;
  END LOOP;
  INSERT INTO staff_loghead (id, seq, hash, begin_seq, begin_hash)
  VALUES (1, number, last, 0, decode(repeat('00', 32), 'hex'));
END
$$;

ALTER TABLE console_logentry ENABLE TRIGGER console_log_only_grows;
"""

TRIGGERS = r"""
CREATE FUNCTION console_log_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  head staff_loghead;
BEGIN
  SELECT * INTO head FROM staff_loghead WHERE id = 1 FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO staff_loghead (id, seq, hash, begin_seq, begin_hash)
    VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'))
    ON CONFLICT (id) DO NOTHING;
    SELECT * INTO head FROM staff_loghead WHERE id = 1 FOR UPDATE;
  END IF;

  NEW.seq := head.seq + 1;
  NEW.hash := console_log_hash(head.hash, NEW);
  UPDATE staff_loghead SET seq = NEW.seq, hash = NEW.hash WHERE id = 1;
  RETURN NEW;
END
$$;

CREATE TRIGGER console_log_chain BEFORE INSERT ON console_logentry
  FOR EACH ROW EXECUTE FUNCTION console_log_chain();

CREATE TRIGGER console_log_no_truncate BEFORE TRUNCATE ON console_logentry
  FOR EACH STATEMENT EXECUTE FUNCTION console_log_only_grows();

-- The row trigger console_log_only_grows has refused entries of the last year.
CREATE FUNCTION console_log_purged() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  head staff_loghead;
  gone record;
  digits text;
BEGIN
  SELECT count(*) AS number, min(seq) AS first, max(seq) AS last INTO gone FROM deleted;
  IF gone.number = 0 THEN
    RETURN NULL;
  END IF;

  SELECT * INTO head FROM staff_loghead WHERE id = 1 FOR UPDATE;
  IF head.id IS NULL OR gone.first <> head.begin_seq + 1
     OR gone.number <> gone.last - gone.first + 1 THEN
    RAISE EXCEPTION 'The log of what operators did only grows: entries are deleted in their order.'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'console_log_only_grows',
            TABLE = 'console_logentry';
  END IF;

  UPDATE staff_loghead
     SET begin_seq = gone.last, begin_hash = (SELECT hash FROM deleted WHERE seq = gone.last)
   WHERE id = 1
  RETURNING * INTO head;

  -- An id that sorts by time (RFC 9562, version 7), as every other entry has.
  digits := replace(gen_random_uuid()::text, '-', '');
  INSERT INTO console_logentry (id, at, who, what, action, via, subject, why, outcome)
  VALUES (
    (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
     || '7' || substr(digits, 14))::uuid,
    clock_timestamp(), 'system', 'done', 'purge_log', 'system',
    head.begin_seq || ':' || encode(head.begin_hash, 'hex'), 'Retention of the log.',
    'Entries ' || gone.first || ' to ' || gone.last || ' are deleted.');
  RETURN NULL;
END
$$;

CREATE TRIGGER console_log_purged AFTER DELETE ON console_logentry
  REFERENCING OLD TABLE AS deleted
  FOR EACH STATEMENT EXECUTE FUNCTION console_log_purged();
"""

DROP = """
DROP TRIGGER console_log_purged ON console_logentry;
DROP TRIGGER console_log_no_truncate ON console_logentry;
DROP TRIGGER console_log_chain ON console_logentry;
DROP FUNCTION console_log_purged();
DROP FUNCTION console_log_chain();
DROP FUNCTION console_log_hash(bytea, console_logentry);
DROP FUNCTION console_log_field(text);
DELETE FROM staff_loghead;
"""


class Migration(migrations.Migration):
    dependencies = [("staff", "0002_log_columns"), ("console", "0008_log_moved")]

    operations = [
        migrations.RunSQL(PREPARE, migrations.RunSQL.noop),
        migrations.RunSQL(HASH + CHAIN_EXISTING + TRIGGERS, DROP),
        migrations.AddConstraint(
            "logentry", models.UniqueConstraint(fields=["seq"], name="console_log_seq")
        ),
        migrations.AddIndex(
            "logentry",
            models.Index(
                condition=models.Q(("subject", ""), _negated=True),
                fields=["subject", "id"],
                name="console_log_subject",
            ),
        ),
        migrations.AddIndex(
            "logentry",
            models.Index(
                condition=models.Q(("action", "login_failed")),
                fields=["at"],
                name="console_log_failed_login",
            ),
        ),
    ]
