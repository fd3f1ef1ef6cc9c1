-- Bulk operations by id, with what became of their commands as arrays (NULL while nothing did).
SELECT b.id, b.partition, b.action, b.filter, b.expected, b.created_at, b.updated_at, b.stopped_at, b.terminated_at,
       b.request, b.created_by, b.created_reason, b.stopped_by, b.stopped_reason, b.pages, b.sent, b.lost, b.page,
       b.page_at, o.outcomes, o.counts
FROM bulks b
CROSS JOIN LATERAL (
    SELECT array_agg(outcome), array_agg(instances)
    FROM (
        SELECT outcome, sum(instances)::bigint AS instances
        FROM bulk_outcomes WHERE bulk_id = b.id
        GROUP BY outcome ORDER BY outcome
    ) counted
) o (outcomes, counts)
WHERE b.id = ANY($1::uuid[])
