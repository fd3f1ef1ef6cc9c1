INSERT INTO instance_keys (key, created_at, instance_id)
SELECT r.* FROM go, json_to_recordset($rows::json) AS r (key text, created_at timestamptz, instance_id uuid)
ON CONFLICT DO NOTHING
