-- The stages of an instance behind a number, in order; one row of NULLs when there are none, no row when the instance is
-- unknown. They end early as `instances_page` does.
SELECT s.number, s.name, s.input, s.started_at, s.terminated_at, s.error, s.followed
FROM instances i
LEFT JOIN LATERAL (
    SELECT *,
           sum(300 + octet_length(input) + coalesce(octet_length(error), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM stages
    WHERE instance_id = i.id AND number > $2::int
    WINDOW reading AS (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) s ON s.bytes_before IS NULL OR s.bytes_before < $3::bigint
WHERE i.id = $1::uuid
ORDER BY s.number
