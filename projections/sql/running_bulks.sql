-- The operations of some partitions that have not ended, in the shape of `bulks`, oldest first; and how far every
-- partition is in the read model, at the same moment: what became of a command that lies before is counted.
SELECT p.partitions, p.offsets, p.causes, r.*
FROM (SELECT array_agg(partition), array_agg(next_offset), array_agg(cause) FROM positions) p (partitions, offsets, causes)
LEFT JOIN LATERAL (
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
    WHERE b.partition = ANY($1::integer[]) AND b.terminated_at IS NULL
) r ON true
ORDER BY r.created_at
