-- Only what is old by both times: `orchestration verify` knows the one of the event alone.
DELETE FROM rejections
WHERE (partition, cause) IN (
    SELECT partition, cause FROM rejections
    WHERE at < now() - $1 * interval '1 second' AND stored_at < now() - $1 * interval '1 second'
    ORDER BY at LIMIT $2
)
RETURNING cause
