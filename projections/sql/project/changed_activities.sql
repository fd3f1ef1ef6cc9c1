UPDATE activities a SET output = r.output, attempt = r.attempt, terminated_at = r.terminated_at, error = r.error,
    last_failure = coalesce(r.last_failure, a.last_failure), next_execution = r.next_execution,
    paused_at = r.paused_at, max_attempts = r.max_attempts, last_failure_type = r.last_failure_type
FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, stage integer, index integer, output text, attempt integer, terminated_at timestamptz,
          error text, last_failure text, next_execution timestamptz, paused_at timestamptz, max_attempts integer,
          last_failure_type text)
WHERE a.instance_id = r.instance_id AND a.stage = r.stage AND a.index = r.index
