-- The activities of a stage behind a place, in order, with those of earlier passes; one row of NULLs when there are none,
-- no row when the stage did not start. A place is an index with the number of retries before the pass; $6 stands for the
-- pass that counts. They end early as `instances_page` does.
SELECT a.index, a.retries, a.name, a.input, a.output, a.attempt, a.started_at, a.terminated_at, a.error, a.last_failure,
       a.next_execution, a.paused_at, a.max_attempts, a.last_failure_type, a.followed
FROM instances i
LEFT JOIN LATERAL (
    SELECT *,
           sum(400 + octet_length(input) + coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0)
               + coalesce(octet_length(last_failure), 0) + coalesce(octet_length(last_failure_type), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT index, $6::int AS retries, name, input, output, attempt, started_at, terminated_at, error, last_failure,
               next_execution, paused_at, max_attempts, last_failure_type
        FROM activities WHERE instance_id = i.id AND stage = $2::int AND index >= $3::int
        UNION ALL
        SELECT index, retries, name, input, output, attempt, started_at, terminated_at, error, last_failure,
               NULL, NULL, NULL, last_failure_type
        FROM past_activities WHERE i.retries > 0 AND instance_id = i.id AND stage = $2::int AND index >= $3::int
    ) found
    WHERE (index, retries) > ($3::int, $4::int)
    WINDOW reading AS (ORDER BY index, retries ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) a ON a.bytes_before IS NULL OR a.bytes_before < $5::bigint
WHERE i.id = $1::uuid
  AND (EXISTS (SELECT FROM stages s WHERE s.instance_id = i.id AND s.number = $2::int)
       OR EXISTS (SELECT FROM past_stages p WHERE i.retries > 0 AND p.instance_id = i.id AND p.number = $2::int))
ORDER BY a.index, a.retries
