INSERT INTO event_requests (instance_id, key, request)
SELECT r.* FROM go, json_to_recordset($rows::json) AS r (instance_id uuid, key uuid, request text)
ON CONFLICT DO NOTHING
