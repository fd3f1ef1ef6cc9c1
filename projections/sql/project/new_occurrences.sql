INSERT INTO occurrences (id, trigger_id, date, workflow_instance_id, event, error)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (id uuid, trigger_id uuid, date timestamptz, workflow_instance_id uuid, event text, error text)
ON CONFLICT DO NOTHING
