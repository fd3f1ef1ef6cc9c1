INSERT INTO activities (instance_id, stage, index, name, input, output, attempt, started_at, terminated_at, error,
    last_failure, next_execution)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, stage integer, index integer, name text, input text, output text, attempt integer,
          started_at timestamptz, terminated_at timestamptz, error text, last_failure text, next_execution timestamptz)
ON CONFLICT DO NOTHING
