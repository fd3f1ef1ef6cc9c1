-- Whether the read model has all of the partitions ($1) up to these offsets ($2).
SELECT NOT EXISTS (
    SELECT FROM unnest($1::integer[], $2::bigint[]) AS wanted (partition, log_end)
    LEFT JOIN positions p USING (partition)
    WHERE coalesce(p.next_offset, 0) < wanted.log_end
)
