-- What the changes of `changed_instances` add to the counts: what holds now, less what held before. What happens is counted
-- for the workflow, and for all together.
SELECT c.what, -1 AS stage, c.hour, c.workflow_id, c.bucket, c.count
FROM (
    SELECT *, hour_of(terminated_at) AS hour, duration_bucket(created_at, terminated_at) AS bucket,
        hour_of(old_terminated_at) AS old_hour, duration_bucket(created_at, old_terminated_at) AS old_bucket
    FROM changed_instances
    WHERE (state, terminated_at) IS DISTINCT FROM (old_state, old_terminated_at)
) i CROSS JOIN LATERAL (VALUES
    (i.state, -1, i.workflow_id, 0, 1),
    (i.old_state, -1, i.workflow_id, 0, -1),
    (i.state, i.hour, i.workflow_id, i.bucket, 1),
    (i.old_state, i.old_hour, i.workflow_id, i.old_bucket, -1),
    (i.state, i.hour, '00000000-0000-0000-0000-000000000000', i.bucket, 1),
    (i.old_state, i.old_hour, '00000000-0000-0000-0000-000000000000', i.old_bucket, -1)
) AS c (what, hour, workflow_id, bucket, count)
WHERE c.what IS NOT NULL AND c.hour IS NOT NULL
