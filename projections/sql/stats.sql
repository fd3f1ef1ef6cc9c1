-- What statistics are made of: one row of JSON lists. Parameters: the first hour ($1); the one behind the last ($2); hours
-- of a step ($3); how many workflows are listed at most ($4), those with most going on first; the workflow, if it is one.
-- To be equal to something is also to lie between it and itself: so the planner takes it for rare, and the index that begins
-- with it for the best, whatever the statistics were when the statement was planned.
WITH states AS MATERIALIZED (
    SELECT workflow_id, what, sum(count)::bigint AS count FROM counts
    WHERE hour = -1 AND stage = -1
      AND what = ANY('{running,waiting,delayed,retrying,paused,succeeded,failed,aborted}') -- unless: workflow_id
      AND workflow_id = $workflow_id AND workflow_id BETWEEN $workflow_id AND $workflow_id -- only: workflow_id
    GROUP BY workflow_id, what HAVING sum(count) <> 0
),
happened AS MATERIALIZED (
    SELECT workflow_id, stage, what, (hour - $1::integer) / $3::integer AS step, bucket, sum(count)::bigint AS count
    FROM counts
    WHERE hour >= $1::integer AND hour < $2::integer
      AND what = ANY('{started,succeeded,failed,aborted}') AND stage = -1 -- unless: workflow_id
      AND workflow_id = $workflow_id AND workflow_id BETWEEN $workflow_id AND $workflow_id -- only: workflow_id
    GROUP BY workflow_id, stage, what, (hour - $1::integer) / $3::integer, bucket HAVING sum(count) <> 0
),
known AS MATERIALIZED (
    SELECT workflow_id,
        sum(count) FILTER (WHERE what NOT IN ('succeeded', 'failed', 'aborted') OR stage IS NOT NULL) AS going_on
    FROM (
        SELECT workflow_id, what, NULL AS stage, count FROM states
        UNION ALL SELECT workflow_id, what, stage, count FROM happened WHERE stage = -1
    ) c
    GROUP BY workflow_id
),
listed AS MATERIALIZED (
    SELECT workflow_id, row_number() OVER (ORDER BY going_on DESC NULLS LAST, workflow_id) AS place FROM known
    ORDER BY going_on DESC NULLS LAST, workflow_id LIMIT $4::integer
)
SELECT
    (SELECT count(*) FROM known)::integer,
    (SELECT json_agg(json_build_array(l.workflow_id, coalesce(w.name, '')) ORDER BY l.place)
     FROM listed l LEFT JOIN workflows w ON w.id = l.workflow_id)::text,
    (SELECT json_agg(json_build_array(what, count)) FROM (
        SELECT what, sum(count)::bigint AS count FROM states GROUP BY what) c)::text,
    (SELECT json_agg(json_build_array(workflow_id, what, count)) FROM states
     WHERE workflow_id = ANY(ARRAY(SELECT workflow_id FROM listed)))::text,
    (SELECT json_agg(json_build_array(step, what, bucket, count)) FROM (
        SELECT step, what, bucket, sum(count)::bigint AS count
        FROM happened WHERE stage = -1 GROUP BY step, what, bucket) c)::text,
    (SELECT json_agg(json_build_array(workflow_id, what, bucket, count)) FROM (
        SELECT workflow_id, what, bucket, sum(count)::bigint AS count
        FROM happened WHERE stage = -1 AND workflow_id = ANY(ARRAY(SELECT workflow_id FROM listed))
        GROUP BY workflow_id, what, bucket) c)::text,
    (SELECT json_agg(json_build_array(stage, step, what, bucket, count)) FROM happened WHERE stage >= 0)::text,
    (SELECT json_agg(json_build_array(s.state, o.id, o.workflow_id, o.created_at, o.waiting, o.activity))
     FROM unnest('{running,waiting,delayed,retrying,paused}'::text[]) AS s (state)
     CROSS JOIN LATERAL (
        SELECT id, workflow_id, created_at, waiting, activity FROM instances i
        WHERE i.state = s.state AND i.state BETWEEN s.state AND s.state
          AND workflow_id = $workflow_id AND workflow_id BETWEEN $workflow_id AND $workflow_id -- only: workflow_id
        ORDER BY created_at, id LIMIT 1
    ) o)::text
