-- A page of the triggers that are not deleted, next to a position, in the direction of reading. It ends early as
-- `instances_page` does.
SELECT id, name, event, version, workflow_id, filter, vars, created_at, deleted_at, request, acts, followed
FROM (
    SELECT *,
           sum(500 + octet_length(name) + octet_length(event) + coalesce(octet_length(version), 0)
               + coalesce(octet_length(filter), 0) + coalesce(octet_length(vars), 0)
               + coalesce(octet_length(acts), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM triggers
        WHERE deleted_at IS NULL
          AND (created_at, id) $beyond ($1::timestamptz, $2::uuid)
          AND strpos(folded_name, $folded_name::text) > 0 -- only: folded_name
        ORDER BY created_at $order, id $order LIMIT $3::int + 1
    ) t
    WINDOW reading AS (ORDER BY created_at $order, id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) page
WHERE bytes_before IS NULL OR bytes_before < $4::bigint
ORDER BY created_at $order, id $order
