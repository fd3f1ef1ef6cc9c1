-- All counts, of hours (1) and of days (24), writers added up to one, those of stages over all workflows. Whose hours are
-- long past have none but those that are not moved yet.
SELECT step, what, stage, begins, workflow_id, bucket, sum(count)::bigint
FROM (
    SELECT step, what, stage, bucket, count,
        CASE WHEN hour < 0 THEN hour ELSE hour / step * step END AS begins,
        CASE WHEN stage < 0 THEN workflow_id::text ELSE '00000000-0000-0000-0000-000000000000' END AS workflow_id
    FROM (
        SELECT s.step, c.what, c.stage, c.hour, c.workflow_id, c.bucket, c.count
        FROM counts c CROSS JOIN (VALUES (1), (24)) s (step)
        UNION ALL
        SELECT p.step, p.what, p.stage, p.hour, p.workflow_id, b.number - 1, b.count
        FROM past_counts p CROSS JOIN LATERAL unnest(p.counts) WITH ORDINALITY b (count, number)
    ) c
) c
GROUP BY step, what, stage, begins, workflow_id, bucket HAVING sum(count) <> 0
