INSERT INTO stages (instance_id, number, name, input, started_at, terminated_at, error)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, number integer, name text, input text, started_at timestamptz, terminated_at timestamptz,
          error text)
ON CONFLICT (instance_id, number) DO UPDATE SET name = excluded.name, input = excluded.input,
    started_at = excluded.started_at, terminated_at = excluded.terminated_at, error = excluded.error
