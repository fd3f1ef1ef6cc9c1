UPDATE triggers t SET deleted_at = r.deleted_at, acts = nullif(concat_ws(E'\n', t.acts, r.acts), '')
FROM go, json_to_recordset($rows::json) AS r (id uuid, deleted_at timestamptz, acts text)
WHERE t.id = r.id
