-- Moves some counts of hours that are over to `past_counts`, and deletes hours that are long past there; their days stay.
-- How many rows of one kind it were at most.
WITH over AS MATERIALIZED (
    SELECT what, stage, hour, workflow_id, bucket, writer FROM counts
    WHERE hour >= 0 AND hour < hour_of(now()) - 1
    ORDER BY hour LIMIT $2::integer
    FOR UPDATE SKIP LOCKED -- a projector that is behind may be changing them, and is not to wait for this
),
gone AS (
    DELETE FROM counts c USING over o
    WHERE (c.what, c.stage, c.hour, c.workflow_id, c.bucket, c.writer)
        = (o.what, o.stage, o.hour, o.workflow_id, o.bucket, o.writer)
    RETURNING c.*
),
steps AS (
    SELECT workflow_id, step, hour / step * step AS hour, stage, what, bucket, sum(count)::bigint AS count
    FROM gone CROSS JOIN (VALUES (1), (24)) s (step)
    WHERE step = 24 OR hour >= (hour_of(now()) / 24 - $1::integer) * 24
    GROUP BY workflow_id, step, hour / step * step, stage, what, bucket
),
kept AS (
    INSERT INTO past_counts AS p (workflow_id, step, hour, stage, what, counts)
    SELECT workflow_id, step, hour, stage, what, ARRAY(
        -- Of a row at a time. Joined with all of them, twice as many counts would take four times as long.
        SELECT coalesce(c.count, 0) FROM generate_series(0, last) bucket
        LEFT JOIN unnest(buckets, counts) c (bucket, count) USING (bucket)
        ORDER BY bucket
    )
    FROM (
        SELECT workflow_id, step, hour, stage, what,
            max(bucket) AS last, array_agg(bucket) AS buckets, array_agg(count) AS counts
        FROM steps GROUP BY 1, 2, 3, 4, 5
    ) r
    ORDER BY workflow_id, step, hour, stage, what
    ON CONFLICT (workflow_id, step, hour, stage, what) DO UPDATE SET counts = (
        SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY n)
        FROM unnest(p.counts, excluded.counts) WITH ORDINALITY u (a, b, n)
    )
),
deleted AS (
    DELETE FROM past_counts WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM past_counts
        WHERE step = 1 AND hour < (hour_of(now()) / 24 - $1::integer) * 24
        ORDER BY hour LIMIT $2::integer
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT greatest((SELECT count(*) FROM gone), (SELECT count(*) FROM deleted))
