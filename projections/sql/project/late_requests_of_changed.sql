-- As `late_requests`, to instances that the batch changes: they are locked by that.
INSERT INTO event_requests (instance_id, key, request)
SELECT r.* FROM go, json_to_recordset($rows::json) AS r (instance_id uuid, key uuid, request text)
JOIN instances i ON i.id = r.instance_id
ON CONFLICT DO NOTHING
