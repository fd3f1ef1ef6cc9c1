-- The stages of an instance behind a place, in order, with those of earlier passes; one row of NULLs when there are none,
-- no row when the instance is unknown. A place is a number with the number of retries before the pass; $5 stands for the
-- pass that counts. They end early as `instances_page` does.
SELECT s.number, s.retries, s.name, s.input, s.started_at, s.terminated_at, s.error, s.followed
FROM instances i
LEFT JOIN LATERAL (
    SELECT *,
           sum(300 + octet_length(input) + coalesce(octet_length(error), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT number, $5::int AS retries, name, input, started_at, terminated_at, error
        FROM stages WHERE instance_id = i.id AND number >= $2::int
        UNION ALL
        SELECT number, retries, name, input, started_at, terminated_at, error
        FROM past_stages WHERE i.retries > 0 AND instance_id = i.id AND number >= $2::int
    ) found
    WHERE (number, retries) > ($2::int, $3::int)
    WINDOW reading AS (ORDER BY number, retries ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) s ON s.bytes_before IS NULL OR s.bytes_before < $4::bigint
WHERE i.id = $1::uuid
ORDER BY s.number, s.retries
