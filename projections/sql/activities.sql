-- The activities of a stage behind an index, in order; one row of NULLs when there are none, no row when the stage did
-- not start. They end early as `instances_page` does.
SELECT a.index, a.name, a.input, a.output, a.attempt, a.started_at, a.terminated_at, a.error, a.last_failure,
       a.next_execution, a.paused_at, a.max_attempts, a.last_failure_type, a.followed
FROM stages s
LEFT JOIN LATERAL (
    SELECT *,
           sum(400 + octet_length(input) + coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0)
               + coalesce(octet_length(last_failure), 0) + coalesce(octet_length(last_failure_type), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM activities
    WHERE instance_id = s.instance_id AND stage = s.number AND index > $3::int
    WINDOW reading AS (ORDER BY index ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) a ON a.bytes_before IS NULL OR a.bytes_before < $4::bigint
WHERE s.instance_id = $1::uuid AND s.number = $2::int
ORDER BY a.index
