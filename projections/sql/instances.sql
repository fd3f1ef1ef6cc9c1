-- One row per instance, its stages as arrays.
SELECT i.id, i.workflow_id, i.created_at, i.updated_at, i.terminated_at, i.error, i.request,
       i.variables, i.trigger_id, i.occurrence_id, i.activity, i.waiting, i.acts, i.retries,
       w.name, w.definition, w.created_at, w.updated_at, w.deleted_at, w.request, w.max_attempts,
       s.numbers, s.started, s.terminated, s.errors
FROM instances i
JOIN workflows w ON w.id = i.workflow_id
CROSS JOIN LATERAL (
    SELECT array_agg(number), array_agg(started_at), array_agg(terminated_at), array_agg(error)
    FROM (
        SELECT number, started_at, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number
    ) ordered
) s (numbers, started, terminated, errors)
WHERE i.id = ANY($1)
