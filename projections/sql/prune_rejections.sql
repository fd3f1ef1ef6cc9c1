DELETE FROM rejections
WHERE (partition, cause) IN (
    SELECT partition, cause FROM rejections WHERE at < now() - $1 * interval '1 second' ORDER BY at LIMIT $2
)
RETURNING cause
