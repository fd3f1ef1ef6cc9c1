INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, request, variables, trigger_id,
    occurrence_id, activity, waiting, state, keys, acts, retryable)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (id uuid, workflow_id uuid, created_at timestamptz, updated_at timestamptz, terminated_at timestamptz,
          error text, request text, variables text, trigger_id uuid, occurrence_id uuid, activity text, waiting text,
          state text, keys integer, acts text, retryable text)
ON CONFLICT DO NOTHING
