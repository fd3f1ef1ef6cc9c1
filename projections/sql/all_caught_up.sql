-- Whether all partitions have caught up since Postgres started; NULL when none has. Who notes one that was added since
-- may not know of it yet: then only those count that it knew of.
SELECT count(*) FILTER (WHERE partition < altogether) = max(altogether)
FROM (
    SELECT partition, max(partitions) OVER () AS altogether
    FROM caught_up
    WHERE server_started_at = pg_postmaster_start_time() AND relation = tableoid
) AS noted
