-- A page of instances next to a position, in the direction of reading: from the newest on, or backwards.
-- The position is told in the words of the one index that fits. So no other is as good, whatever the statistics were when
-- the statement was planned.
-- The page ends early, behind the row with which its rows take `max_bytes` or more. `followed` tells whether one more
-- comes behind the row; one row beyond the limit is read to know it.
SELECT id, workflow_id, created_at, updated_at, terminated_at, error, request,
       variables, trigger_id, occurrence_id, activity, waiting, acts,
       name, definition, workflow_created_at, workflow_updated_at, deleted_at, workflow_request, max_attempts,
       numbers, started, terminated, errors, followed
FROM (
    SELECT i.*,
           w.name, w.definition, w.created_at AS workflow_created_at, w.updated_at AS workflow_updated_at,
           w.deleted_at, w.request AS workflow_request, w.max_attempts,
           s.numbers, s.started, s.terminated, s.errors,
           sum(500 + octet_length(w.definition) + coalesce(octet_length(i.error), 0)
               + coalesce(octet_length(i.variables), 0) + coalesce(octet_length(i.waiting), 0)
               + coalesce(octet_length(i.acts), 0)
               + coalesce(300 * cardinality(s.numbers) + pg_column_size(s.errors), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM instances
        WHERE true
          AND (created_at, id) $beyond ($1::timestamptz, $2::uuid) -- unless: workflow_id
          AND workflow_id = $workflow_id -- only: workflow_id
          AND (workflow_id, created_at, id) $beyond ($workflow_id::uuid, $1::timestamptz, $2::uuid) -- only: workflow_id
          AND terminated_at IS NULL -- only: running
        ORDER BY created_at $order, id $order LIMIT $3::int + 1
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
WHERE bytes_before IS NULL OR bytes_before < $4::bigint
ORDER BY created_at $order, id $order
