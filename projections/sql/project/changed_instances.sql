UPDATE instances i SET updated_at = r.updated_at, terminated_at = coalesce(r.terminated_at, i.terminated_at),
    error = coalesce(r.error, i.error), activity = coalesce(r.activity, i.activity),
    waiting = CASE WHEN r.waiting IS NULL THEN i.waiting ELSE nullif(r.waiting, '') END,
    state = coalesce(r.state, i.state)
FROM go, json_to_recordset($rows::json)
    AS r (id uuid, updated_at timestamptz, terminated_at timestamptz, error text, activity text, waiting text, state text)
WHERE i.id = r.id
