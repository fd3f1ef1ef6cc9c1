-- A page of instances next to a position, newest first; with `backwards`, the page before it, oldest first.
-- Planned anew for each call, with the filters' values, so that each combination uses its own index.
SELECT i.id, i.workflow_id, i.created_at, i.updated_at, i.terminated_at, i.error, i.request,
       w.name, w.definition, w.created_at, w.updated_at, w.deleted_at, w.request,
       s.numbers, s.started, s.terminated, s.errors
FROM (
    (
        SELECT * FROM instances
        WHERE NOT %(backwards)s
          AND (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
          AND (NOT %(running)s OR terminated_at IS NULL)
          AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) < (%(created_at)s, %(id)s::uuid))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) UNION ALL (
        SELECT * FROM instances
        WHERE %(backwards)s
          AND (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
          AND (NOT %(running)s OR terminated_at IS NULL)
          AND (created_at, id) > (%(created_at)s, %(id)s::uuid)
        ORDER BY created_at, id LIMIT %(limit)s
    )
) i
JOIN workflows w ON w.id = i.workflow_id
CROSS JOIN LATERAL (
    SELECT array_agg(number), array_agg(started_at), array_agg(terminated_at), array_agg(error)
    FROM (
        SELECT number, started_at, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number
    ) ordered
) s (numbers, started, terminated, errors)
ORDER BY i.created_at DESC, i.id DESC
