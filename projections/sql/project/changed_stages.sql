UPDATE stages s SET terminated_at = r.terminated_at, error = r.error
FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, number integer, terminated_at timestamptz, error text)
    JOIN stages o ON o.instance_id = r.instance_id AND o.number = r.number -- as it was
    LEFT JOIN instances i ON i.id = r.instance_id
WHERE s.instance_id = r.instance_id AND s.number = r.number
RETURNING i.workflow_id, s.number, s.started_at, s.terminated_at, s.error,
    o.terminated_at AS old_terminated_at, o.error AS old_error
