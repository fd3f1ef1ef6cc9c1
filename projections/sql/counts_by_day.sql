-- All counts, hours added up to days and writers to one, those of stages over all workflows.
SELECT what, stage, day, workflow_id, bucket, sum(count)::bigint
FROM (
    SELECT what, stage, bucket, count,
        CASE WHEN hour < 0 THEN hour ELSE hour / 24 * 24 END AS day,
        CASE WHEN stage < 0 THEN workflow_id::text ELSE '00000000-0000-0000-0000-000000000000' END AS workflow_id
    FROM counts
) c
GROUP BY what, stage, day, workflow_id, bucket HAVING sum(count) <> 0
