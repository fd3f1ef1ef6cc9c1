SELECT id, name, definition, created_at, updated_at, deleted_at, request, max_attempts, acts
FROM workflows
WHERE id = ANY($1)
