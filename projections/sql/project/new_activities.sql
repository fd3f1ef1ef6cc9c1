INSERT INTO activities (instance_id, stage, index, name, input, output, attempt, started_at, terminated_at, error,
    last_failure, next_execution, paused_at, max_attempts, last_failure_type, key_number, key_used)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, stage integer, index integer, name text, input text, output text, attempt integer,
          started_at timestamptz, terminated_at timestamptz, error text, last_failure text, next_execution timestamptz,
          paused_at timestamptz, max_attempts integer, last_failure_type text,
          key_number integer, key_used boolean)
ON CONFLICT DO NOTHING
