-- Instances next to a position in the direction of reading: all, those of a workflow, those that run.
-- To be equal to a workflow is also to lie between it and itself. An index that begins with it does not look at that
-- again, and the planner takes it for so rare that no other index is as good, whatever the statistics were. (A row of
-- workflow and position would do as well, but would be read from the first row of the workflow on.)
SELECT *, created_at AS place_at, id AS place_id FROM instances
WHERE (created_at, id) $beyond ($1::timestamptz, $2::uuid)
  AND workflow_id = $workflow_id::uuid AND workflow_id BETWEEN $workflow_id::uuid AND $workflow_id::uuid -- only: workflow_id
  AND terminated_at IS NULL -- only: running
ORDER BY created_at $order, id $order LIMIT $3::int + 1
