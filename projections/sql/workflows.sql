SELECT id, name, definition, created_at, updated_at, deleted_at
FROM workflows
WHERE id = ANY($1)
