INSERT INTO counts (what, stage, hour, workflow_id, bucket, writer, count)
SELECT what, stage, hour, workflow_id, bucket,
$$project/count_writer
    sum(count)
FROM (
    SELECT what, stage, hour, coalesce(workflow_id, (SELECT i.workflow_id FROM instances i WHERE i.id = r.instance_id))
            AS workflow_id, bucket, count
    FROM go, json_to_recordset($rows::json)
        AS r (what text, stage integer, hour integer, workflow_id uuid, instance_id uuid, bucket integer, count bigint)
    UNION ALL SELECT * FROM counted_instances -- only: changed_instances
    UNION ALL SELECT * FROM counted_retries -- only: again_instances
    UNION ALL SELECT * FROM counted_restored -- only: again_restored
    UNION ALL SELECT * FROM counted_stages -- only: changed_stages
) c
WHERE workflow_id IS NOT NULL
GROUP BY what, stage, hour, workflow_id, bucket HAVING sum(count) <> 0
ORDER BY what, stage, hour, workflow_id, bucket
ON CONFLICT (what, stage, hour, workflow_id, bucket, writer) DO UPDATE SET count = counts.count + excluded.count
