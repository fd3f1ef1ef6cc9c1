-- A page of instances next to a position, in the direction of reading: from the newest on, or backwards.
-- The page ends early, behind the row with which its rows take `max_bytes` or more. `followed` tells whether one more
-- comes behind the row; one row beyond the limit is read to know it. An instance without its workflow is not shown, since that
-- may be in a partition that is not as far, but its place comes along: the list goes on behind it.
SELECT id, workflow_id, created_at, updated_at, terminated_at, error, request,
       variables, trigger_id, occurrence_id, activity, waiting, acts, retries,
       name, definition, workflow_created_at, workflow_updated_at, deleted_at, workflow_request, max_attempts,
       numbers, started, terminated, errors, followed
       , matches, stopped -- only: searched
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
$$instances_of_filter -- unless: searched
        SELECT * FROM ( -- only: searched
$$found_instances -- only: searched
        ) AS found -- only: searched
        CROSS JOIN LATERAL ( -- only: searched
            SELECT * FROM instances WHERE id BETWEEN place_id AND place_id ORDER BY id LIMIT 1 -- only: searched
        ) AS instance -- only: searched
    ) i
    LEFT JOIN workflows w ON w.id = i.workflow_id -- unless: searched
    LEFT JOIN LATERAL (SELECT * FROM workflows WHERE id = i.workflow_id LIMIT 1) w ON true -- only: searched
    CROSS JOIN LATERAL (
        SELECT array_agg(number), array_agg(started_at), array_agg(terminated_at), array_agg(error)
        FROM (
            SELECT number, started_at, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number
        ) ordered
    ) s (numbers, started, terminated, errors)
    WINDOW reading AS (
        ORDER BY i.place_at $order, i.place_id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
) page
WHERE bytes_before IS NULL OR bytes_before < $4::bigint
ORDER BY place_at $order, place_id $order
