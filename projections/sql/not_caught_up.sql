-- Those of some partitions that have not caught up since Postgres started.
SELECT wanted.partition
FROM unnest($1::integer[]) AS wanted (partition)
WHERE NOT EXISTS (
    SELECT FROM caught_up c
    WHERE c.partition = wanted.partition AND c.server_started_at = pg_postmaster_start_time()
      AND c.relation = c.tableoid
)
