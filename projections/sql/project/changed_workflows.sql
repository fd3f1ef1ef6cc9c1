UPDATE workflows w SET updated_at = r.updated_at, deleted_at = r.deleted_at,
    acts = nullif(concat_ws(E'\n', w.acts, r.acts), '')
FROM go, json_to_recordset($rows::json) AS r (id uuid, updated_at timestamptz, deleted_at timestamptz, acts text)
WHERE w.id = r.id
