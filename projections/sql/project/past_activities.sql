-- Reads the rows as they were before this statement.
INSERT INTO past_activities (instance_id, retries, stage, index, name, input, output, attempt, started_at, terminated_at,
    error, last_failure, last_failure_type, key_number, key_used)
SELECT a.instance_id, r.retries, a.stage, a.index, a.name, a.input, a.output, a.attempt, a.started_at, a.terminated_at,
    a.error, a.last_failure, a.last_failure_type, a.key_number, a.key_used
FROM go, json_to_recordset($rows::json) AS r (instance_id uuid, retries integer, stage integer, kept integer)
JOIN activities a ON a.instance_id = r.instance_id AND a.stage = r.stage AND a.index >= r.kept
ON CONFLICT DO NOTHING
