-- What the ends of `changed_stages` add to the counts.
SELECT CASE WHEN c.error IS NULL THEN 'succeeded' WHEN c.error = 'canceled' THEN 'aborted' ELSE 'failed' END,
    s.number, hour_of(c.ended), s.workflow_id, duration_bucket(s.started_at, c.ended), c.count
FROM changed_stages s CROSS JOIN LATERAL (VALUES
    (s.terminated_at, s.error, 1),
    (s.old_terminated_at, s.old_error, -1)
) AS c (ended, error, count)
WHERE c.ended IS NOT NULL
