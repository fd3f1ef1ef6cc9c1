-- Requests that came when their instance had ended. One that is deleted, or never was, gets none. Of a deletion under way,
-- this waits for the end.
INSERT INTO event_requests (instance_id, key, request)
SELECT r.* FROM go, json_to_recordset($rows::json) AS r (instance_id uuid, key uuid, request text)
JOIN instances i ON i.id = r.instance_id
FOR KEY SHARE OF i
ON CONFLICT DO NOTHING
