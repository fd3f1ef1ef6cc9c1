-- Notes which partitions have passed the end of their log. Parameters: partitions ($1), their ends ($2), as they were
-- after this connection was made; how many partitions there are ($3).
INSERT INTO caught_up (partition, partitions, server_started_at, relation)
SELECT p.partition, $3, pg_postmaster_start_time(), 'caught_up'::regclass
FROM positions p
JOIN unnest($1::integer[], $2::bigint[]) AS wanted (partition, log_end) USING (partition)
WHERE p.next_offset >= wanted.log_end
ON CONFLICT (partition) DO UPDATE SET partitions = excluded.partitions,
    server_started_at = excluded.server_started_at, relation = excluded.relation
RETURNING partition
