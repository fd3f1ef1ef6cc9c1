UPDATE instances i SET updated_at = r.updated_at, terminated_at = r.terminated_at, error = r.error,
    activity = coalesce(r.activity, i.activity), waiting = nullif(r.waiting, ''), state = r.state,
    retries = r.retries, retryable = r.retryable,
    keys = CASE WHEN r.keys IS NULL THEN i.keys ELSE coalesce(i.keys, 0) + r.keys END,
$$project/joined_acts
FROM go, json_to_recordset($rows::json)
    AS r (id uuid, updated_at timestamptz, terminated_at timestamptz, error text, activity text, waiting text, state text,
          keys integer, acts text, retries integer, retryable text)
    JOIN instances o ON o.id = r.id -- as it was
WHERE i.id = r.id
RETURNING i.workflow_id, i.created_at, i.state, i.terminated_at,
    o.state AS old_state, o.terminated_at AS old_terminated_at
