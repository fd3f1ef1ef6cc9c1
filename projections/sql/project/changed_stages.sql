UPDATE stages s SET terminated_at = r.terminated_at, error = r.error
FROM go, json_to_recordset($rows::json)
    AS r (instance_id uuid, number integer, terminated_at timestamptz, error text)
WHERE s.instance_id = r.instance_id AND s.number = r.number
