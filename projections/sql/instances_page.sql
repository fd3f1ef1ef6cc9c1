-- A page of instances next to a position, in the direction of reading: from the newest on, or backwards.
-- Planned for each call again, with the filters' values, so that each combination uses its own index.
-- The page ends early, behind the row with which its rows take `max_bytes` or more. `followed` tells whether one more
-- comes behind the row; one row beyond the limit is read to know it.
SELECT id, workflow_id, created_at, updated_at, terminated_at, error, request,
       name, definition, workflow_created_at, workflow_updated_at, deleted_at, workflow_request,
       numbers, started, terminated, errors, followed
FROM (
    SELECT i.*,
           w.name, w.definition, w.created_at AS workflow_created_at, w.updated_at AS workflow_updated_at,
           w.deleted_at, w.request AS workflow_request,
           s.numbers, s.started, s.terminated, s.errors,
           sum(500 + octet_length(w.definition) + coalesce(octet_length(i.error), 0)
               + coalesce(300 * cardinality(s.numbers) + pg_column_size(s.errors), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM instances
        WHERE (%(workflow_id)s::uuid IS NULL OR workflow_id = %(workflow_id)s)
          AND (NOT %(running)s OR terminated_at IS NULL)
          AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) $beyond (%(created_at)s, %(id)s::uuid))
        ORDER BY created_at $order, id $order LIMIT %(limit)s + 1
    ) i
    JOIN workflows w ON w.id = i.workflow_id
    CROSS JOIN LATERAL (
        SELECT array_agg(number), array_agg(started_at), array_agg(terminated_at), array_agg(error)
        FROM (
            SELECT number, started_at, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number
        ) ordered
    ) s (numbers, started, terminated, errors)
    WINDOW reading AS (
        ORDER BY i.created_at $order, i.id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
) page
WHERE bytes_before IS NULL OR bytes_before < %(max_bytes)s
ORDER BY created_at $order, id $order
