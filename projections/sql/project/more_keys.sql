INSERT INTO instance_keys (key, created_at, instance_id)
SELECT r.key, i.created_at, i.id
FROM go, json_to_recordset($rows::json) AS r (key text, instance_id uuid, room integer)
JOIN instances i ON i.id = r.instance_id
WHERE coalesce(i.keys, 0) < r.room
ON CONFLICT DO NOTHING
