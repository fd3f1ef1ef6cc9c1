-- A page of the triggers that are not deleted, next to a position, in the direction of reading. It ends early as
-- `instances_page` does.
SELECT id, name, event, version, workflow_id, filter, vars, created_at, deleted_at, request, followed
FROM (
    SELECT *,
           sum(500 + octet_length(name) + octet_length(event) + coalesce(octet_length(version), 0)
               + coalesce(octet_length(filter), 0) + coalesce(octet_length(vars), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM triggers
        WHERE deleted_at IS NULL
          AND (%(folded_name)s = '' OR strpos(folded_name, %(folded_name)s) > 0)
          AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) $beyond (%(created_at)s, %(id)s::uuid))
        ORDER BY created_at $order, id $order LIMIT %(limit)s + 1
    ) t
    WINDOW reading AS (ORDER BY created_at $order, id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) page
WHERE bytes_before IS NULL OR bytes_before < %(max_bytes)s
ORDER BY created_at $order, id $order
