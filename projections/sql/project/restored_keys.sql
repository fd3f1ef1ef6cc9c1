-- By what the instances of `again_restored` are found.
INSERT INTO instance_keys (key, created_at, instance_id)
SELECT r.key, i.created_at, i.id
FROM again_restored i JOIN json_to_recordset($rows::json) AS r (key text, instance_id uuid) ON r.instance_id = i.id
ON CONFLICT DO NOTHING
