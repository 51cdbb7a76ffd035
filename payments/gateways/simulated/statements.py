"""The SQL of the simulated gateway.

CHARGE and VOID insert in the order of the keys, so that two batches cannot deadlock. The first
statement that inserts a key's row decides what becomes of the key.
"""

__all__ = ["CAPTURE", "CHARGE", "DECIDE_DISPUTES", "MONEY_OF_CHARGES", "VOID"]

# Charges or authorizes keys that have no row, or whose first request was lost. `taken` is the state
# of a key whose money is taken. Returns only the keys that this statement decided.
CHARGE = """
    WITH decided AS (
        INSERT INTO payments_simulatedintent AS intent
            (key, state, order_id, amount, captured_amount, currency, payment_method, charge_id,
             decline_code, authorized_until)
        SELECT key, state, order_id, amount, captured_amount, currency, payment_method, charge_id,
               decline_code,
               CASE WHEN %(taken)s = 'authorized'
                    THEN clock_timestamp() + make_interval(secs => held) END
          FROM jsonb_to_recordset(%(rows)s::jsonb)
            AS request (key text, state text, order_id uuid, amount bigint, captured_amount bigint,
                        currency text, payment_method text, charge_id text, decline_code text,
                        held float8)
        ORDER BY key
        ON CONFLICT (key) DO UPDATE SET state = %(taken)s WHERE intent.state = 'lost'
        RETURNING key, state, order_id, charge_id, coalesce(captured_amount, amount) AS amount,
                  currency, decline_code, authorized_until
    ), booked AS (
        INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
        SELECT 'capture', key, order_id, charge_id, amount, currency
          FROM decided WHERE state = 'captured'
    )
    SELECT key, state, charge_id, amount, decline_code, authorized_until FROM decided
"""

# Voids keys that have no row, whose request was lost, or that are only authorized. Returns only the
# keys that this statement voided.
VOID = """
    INSERT INTO payments_simulatedintent AS intent
        (key, state, order_id, amount, currency, payment_method, charge_id, decline_code)
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS request (key text, state text, order_id uuid, amount bigint, currency text,
                    payment_method text, charge_id text, decline_code text)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET state = 'void' WHERE intent.state IN ('lost', 'authorized')
    RETURNING key, state, charge_id, amount, decline_code, authorized_until
"""

# Captures authorized keys, and voids a key whose authorization has expired. Returns no key that was
# not authorized before.
CAPTURE = """
    WITH held AS (
        SELECT key FROM payments_simulatedintent
         WHERE key = ANY(%(keys)s::text[]) AND state = 'authorized'
         ORDER BY key FOR NO KEY UPDATE
    ), decided AS (
        UPDATE payments_simulatedintent AS intent
           SET state = CASE WHEN authorized_until > clock_timestamp()
                            THEN 'captured' ELSE 'void' END
          FROM held WHERE intent.key = held.key
        RETURNING intent.key, state, order_id, charge_id,
                  coalesce(captured_amount, amount) AS amount, currency, decline_code,
                  authorized_until
    ), booked AS (
        INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
        SELECT 'capture', key, order_id, charge_id, amount, currency
          FROM decided WHERE state = 'captured'
    )
    SELECT key, state, charge_id, amount, decline_code, authorized_until FROM decided
"""

# The movements of some charges in order, then their refunds that moved no money.
MONEY_OF_CHARGES = """
    SELECT kind, key, charge_id, amount FROM (
        SELECT id, kind, key, charge_id, amount FROM payments_simulatedcharge
         WHERE charge_id = ANY(%(charges)s::text[])
        UNION ALL
        SELECT NULL, 'refund ' || state, key, charge_id, amount FROM payments_simulatedrefund
         WHERE charge_id = ANY(%(charges)s::text[])
    ) AS line ORDER BY id
"""

# Closes the disputes whose time has come, and returns the money of the won ones.
DECIDE_DISPUTES = """
    WITH due AS (
        SELECT id FROM payments_simulateddispute
         WHERE status = 'open' AND decided_at <= clock_timestamp()
         ORDER BY id FOR NO KEY UPDATE
    ), decided AS (
        UPDATE payments_simulateddispute AS dispute SET status = verdict
          FROM due WHERE dispute.id = due.id
        RETURNING dispute.id, status, order_id, charge_id, amount, currency
    )
    INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
    SELECT 'dispute_return', id || '-return', order_id, charge_id, amount, currency
      FROM decided WHERE status = 'won'
"""
