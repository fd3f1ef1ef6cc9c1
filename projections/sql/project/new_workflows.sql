INSERT INTO workflows (id, name, definition, created_at, updated_at, deleted_at, request, max_attempts, acts)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (id uuid, name text, definition text, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
          request text, max_attempts integer, acts text)
ON CONFLICT DO NOTHING
