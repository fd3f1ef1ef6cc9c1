-- A page of the workflows that are not deleted, next to a position, in the direction of reading. It ends early as
-- `instances_page` does.
SELECT id, name, definition, created_at, updated_at, deleted_at, request, max_attempts, acts, followed
FROM (
    SELECT *,
           sum(500 + octet_length(name) + octet_length(definition) + coalesce(octet_length(acts), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM workflows
        WHERE deleted_at IS NULL
          AND (created_at, id) $beyond ($1::timestamptz, $2::uuid)
        ORDER BY created_at $order, id $order LIMIT $3::int + 1
    ) w
    WINDOW reading AS (ORDER BY created_at $order, id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) page
WHERE bytes_before IS NULL OR bytes_before < $4::bigint
ORDER BY created_at $order, id $order
