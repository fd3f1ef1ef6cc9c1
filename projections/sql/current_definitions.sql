-- The workflows and triggers that are not deleted.
SELECT id, definition, max_attempts, NULL AS event, NULL AS version, NULL AS workflow_id, NULL AS filter, NULL AS vars
FROM workflows
WHERE deleted_at IS NULL
UNION ALL
SELECT id, NULL, NULL, event, version, workflow_id, filter, vars
FROM triggers
WHERE deleted_at IS NULL
