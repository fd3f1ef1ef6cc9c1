INSERT INTO stages (instance_id, number, name, input, started_at, terminated_at, error)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, number integer, name text, input text, started_at timestamptz, terminated_at timestamptz,
          error text)
ON CONFLICT DO NOTHING
