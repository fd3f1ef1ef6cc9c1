-- A page of bulk operations next to a position, in the direction of reading, in the shape of `bulks`. It ends early as
-- `instances_page` does.
SELECT id, partition, action, filter, expected, created_at, updated_at, stopped_at, terminated_at,
       request, created_by, created_reason, stopped_by, stopped_reason, pages, sent, lost, page,
       page_at, outcomes, counts, followed
FROM (
    SELECT b.*, o.outcomes, o.counts,
           sum(500 + octet_length(b.filter) + coalesce(octet_length(b.page), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM bulks
        WHERE (created_at, id) $beyond ($1::timestamptz, $2::uuid)
        ORDER BY created_at $order, id $order LIMIT $3::int + 1
    ) b
$$outcomes_of_bulk
    WINDOW reading AS (ORDER BY b.created_at $order, b.id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) page
WHERE bytes_before IS NULL OR bytes_before < $4::bigint
ORDER BY created_at $order, id $order
