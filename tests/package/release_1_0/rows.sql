-- Three trips of release 1.0 in flight, as its processes wrote them: one before its first step, one
-- whose first step is done and whose next message is not sent, and one whose next message was sent
-- to a worker that is gone.
CREATE TEMP TABLE plan AS SELECT '{"saga": "trip", "abort": "legacy.drop", "steps": [
  {"name": "legacy.book", "undo": "legacy.unbook"}, {"name": "legacy.confirm", "pivot": true}]}'::jsonb AS plan;

INSERT INTO legacy_trip (id, plan, redrives, needs_attention, status)
SELECT id::uuid, plan, 0, false, status FROM plan, (VALUES
  ('01900000-0000-7000-8000-000000000001', 'open'),
  ('01900000-0000-7000-8000-000000000002', 'booked'),
  ('01900000-0000-7000-8000-000000000003', 'booked')) AS trips (id, status);

INSERT INTO legacy_outbox (id, saga, saga_started_at, seq, type, step, step_attempt, data, context,
                           plan, target, headers, published_at, attempts, last_error)
SELECT m.id::uuid, m.saga::uuid, t.created_at, seq, type, step, 1, '{"name": "Ada"}', '{"name": "Ada"}',
       p.plan, target, '{}', sent, attempts, ''
  FROM plan p, (VALUES
  ('01900000-0000-7000-8000-000000000011', '01900000-0000-7000-8000-000000000001', 0, 'trip.began', '', 'legacy.book', NULL::timestamptz, 0),
  ('01900000-0000-7000-8000-000000000021', '01900000-0000-7000-8000-000000000002', 0, 'trip.began', '', 'legacy.book', now(), 1),
  ('01900000-0000-7000-8000-000000000022', '01900000-0000-7000-8000-000000000002', 1, 'trip.moved', 'legacy.book', 'legacy.confirm', NULL, 0),
  ('01900000-0000-7000-8000-000000000031', '01900000-0000-7000-8000-000000000003', 0, 'trip.began', '', 'legacy.book', now(), 1),
  ('01900000-0000-7000-8000-000000000032', '01900000-0000-7000-8000-000000000003', 1, 'trip.moved', 'legacy.book', 'legacy.confirm', now(), 1)
  ) AS m (id, saga, seq, type, step, target, sent, attempts)
  JOIN legacy_trip t ON t.id = m.saga::uuid;

INSERT INTO legacy_inbox (saga, saga_started_at, step, state, attempts, error)
SELECT id, created_at, 'legacy.book', 'done', 1, '' FROM legacy_trip WHERE status = 'booked';

INSERT INTO legacy_watermark (id, before, kept) VALUES (1, now() - interval '30 days', '{}');
