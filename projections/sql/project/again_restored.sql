-- Instances that are retried, for those that were deleted meanwhile: nothing that runs is hidden. Of one whose deletion is
-- under way, this waits for the end of that. They don't count as started once more.
INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, request, variables, activity, waiting,
    state, keys, acts, retries, retryable, restored)
SELECT r.*, true FROM go, json_to_recordset($rows::json)
    AS r (id uuid, workflow_id uuid, created_at timestamptz, updated_at timestamptz, terminated_at timestamptz,
          error text, request text, variables text, activity text, waiting text, state text, keys integer, acts text,
          retries integer, retryable text)
ON CONFLICT DO NOTHING
RETURNING id, workflow_id, created_at, state, terminated_at, NULL::text AS old_state, NULL::timestamptz AS old_terminated_at
