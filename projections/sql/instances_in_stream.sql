-- The first instances of one stream of `found_instances`. What is between is explained in `instances_of_filter`.
SELECT created_at AS place_at, id AS place_id, error, terminated_at FROM instances
WHERE (created_at, id) $beyond ($1::timestamptz, $2::uuid)
  AND created_at >= $oldest::timestamptz -- only: oldest
  AND created_at < $newest::timestamptz -- only: newest
  AND workflow_id = w.of_workflow AND workflow_id BETWEEN w.of_workflow AND w.of_workflow -- only: by_workflow
  AND state = s.in_state AND state BETWEEN s.in_state AND s.in_state -- only: by_state
  AND terminated_at IS NULL -- only: running
ORDER BY created_at $order, id $order LIMIT $scan::bigint
