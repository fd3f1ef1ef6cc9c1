INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, request)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (id uuid, workflow_id uuid, created_at timestamptz, updated_at timestamptz, terminated_at timestamptz,
          error text, request text)
ON CONFLICT DO NOTHING
