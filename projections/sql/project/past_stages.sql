-- Reads the rows as they were before this statement.
INSERT INTO past_stages (instance_id, retries, number, name, input, started_at, terminated_at, error)
SELECT s.instance_id, r.retries, s.number, s.name, s.input, s.started_at, s.terminated_at, s.error
FROM go, json_to_recordset($rows::json) AS r (instance_id uuid, retries integer, stage integer)
JOIN stages s ON s.instance_id = r.instance_id AND s.number = r.stage
ON CONFLICT DO NOTHING
