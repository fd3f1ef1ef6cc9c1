-- The operations of some partitions that have not ended, in the shape of `bulks`, oldest first; and how far every
-- partition is in the read model, at the same moment: what became of a command that lies before is counted.
SELECT p.partitions, p.offsets, p.causes, r.*
FROM (SELECT array_agg(partition), array_agg(next_offset), array_agg(cause) FROM positions) p (partitions, offsets, causes)
LEFT JOIN LATERAL (
$$shown_bulks
    WHERE b.partition = ANY($1::integer[]) AND b.terminated_at IS NULL
) r ON true
ORDER BY r.created_at
