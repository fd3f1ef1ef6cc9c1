-- Whether all partitions have caught up since Postgres started; NULL when none has.
SELECT count(*) = max(partitions)
FROM caught_up
WHERE server_started_at = pg_postmaster_start_time() AND relation = tableoid
