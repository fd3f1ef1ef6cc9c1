INSERT INTO triggers (id, name, folded_name, event, version, workflow_id, filter, vars, created_at, deleted_at, request,
    acts)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (id uuid, name text, folded_name text, event text, version text, workflow_id uuid, filter text, vars text,
          created_at timestamptz, deleted_at timestamptz, request text, acts text)
ON CONFLICT DO NOTHING
