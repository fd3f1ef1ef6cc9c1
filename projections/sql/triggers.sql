SELECT id, name, event, version, workflow_id, filter, vars, created_at, deleted_at, request, acts
FROM triggers
WHERE id = ANY($1)
