-- Makes some hours that are long past into days. How many rows they were.
WITH past AS MATERIALIZED (
    SELECT what, stage, hour, workflow_id, bucket, writer FROM counts
    WHERE hour >= 0 AND hour % 24 <> 0 AND hour < (hour_of(now()) / 24 - $1::integer) * 24
    ORDER BY hour LIMIT $2::integer
    FOR UPDATE SKIP LOCKED -- a projector that is behind may be changing them, and is not to wait for this
),
gone AS (
    DELETE FROM counts c USING past p
    WHERE (c.what, c.stage, c.hour, c.workflow_id, c.bucket, c.writer)
        = (p.what, p.stage, p.hour, p.workflow_id, p.bucket, p.writer)
    RETURNING c.*
),
days AS (
    INSERT INTO counts (what, stage, hour, workflow_id, bucket, writer, count)
    SELECT what, stage, hour / 24 * 24, workflow_id, bucket, writer, sum(count)
    FROM gone GROUP BY what, stage, hour / 24, workflow_id, bucket, writer
    ORDER BY what, stage, hour / 24, workflow_id, bucket, writer
    ON CONFLICT (what, stage, hour, workflow_id, bucket, writer) DO UPDATE SET count = counts.count + excluded.count
)
SELECT count(*) FROM gone
