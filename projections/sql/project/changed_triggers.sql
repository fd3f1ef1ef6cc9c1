UPDATE triggers t SET deleted_at = r.deleted_at
FROM go, json_to_recordset($rows::json) AS r (id uuid, deleted_at timestamptz)
WHERE t.id = r.id
