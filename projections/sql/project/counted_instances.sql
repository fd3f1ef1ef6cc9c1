-- What the changes of `changed_instances` add to the counts: what holds now, less what held before.
SELECT c.what, -1 AS stage, c.hour, i.workflow_id, c.bucket, c.count
FROM changed_instances i CROSS JOIN LATERAL (VALUES
    (i.state, -1, 0, 1),
    (i.old_state, -1, 0, -1),
    (i.state, hour_of(i.terminated_at), duration_bucket(i.created_at, i.terminated_at), 1),
    (i.old_state, hour_of(i.old_terminated_at), duration_bucket(i.created_at, i.old_terminated_at), -1)
) AS c (what, hour, bucket, count)
WHERE (i.state, i.terminated_at) IS DISTINCT FROM (i.old_state, i.old_terminated_at)
    AND c.what IS NOT NULL AND c.hour IS NOT NULL
