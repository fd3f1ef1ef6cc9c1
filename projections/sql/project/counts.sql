INSERT INTO counts (what, stage, hour, workflow_id, bucket, writer, count)
SELECT what, stage, hour, workflow_id, bucket,
    -- The first number that no other projector has now: they don't wait for each other, and leave few rows. Postgres makes
    -- the whole series first, so it is short; the projectors beyond it share a number.
    coalesce((SELECT n FROM generate_series(0, 31) n
              WHERE pg_try_advisory_xact_lock('counts'::regclass::oid::integer, n) LIMIT 1), 32),
    sum(count)
FROM (
    SELECT what, stage, hour, coalesce(workflow_id, (SELECT i.workflow_id FROM instances i WHERE i.id = r.instance_id))
            AS workflow_id, bucket, count
    FROM go, json_to_recordset($rows::json)
        AS r (what text, stage integer, hour integer, workflow_id uuid, instance_id uuid, bucket integer, count bigint)
    UNION ALL SELECT * FROM counted_instances -- only: changed_instances
    UNION ALL SELECT * FROM counted_retries -- only: again_instances
    UNION ALL SELECT * FROM counted_stages -- only: changed_stages
) c
WHERE workflow_id IS NOT NULL
GROUP BY what, stage, hour, workflow_id, bucket HAVING sum(count) <> 0
ORDER BY what, stage, hour, workflow_id, bucket
ON CONFLICT (what, stage, hour, workflow_id, bucket, writer) DO UPDATE SET count = counts.count + excluded.count
