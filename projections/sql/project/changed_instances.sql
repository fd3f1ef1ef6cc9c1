UPDATE instances i SET updated_at = r.updated_at, terminated_at = coalesce(r.terminated_at, i.terminated_at),
    error = coalesce(r.error, i.error)
FROM go, json_to_recordset($rows::json)
    AS r (id uuid, updated_at timestamptz, terminated_at timestamptz, error text)
WHERE i.id = r.id
