-- What statistics are made of: one row of JSON lists. Parameters: the first hour ($1); the one behind the last ($2); hours
-- of a step ($3); how many workflows are listed at most ($4), those with most that live first; the workflow, if it is one.
-- Places are told in the words of the one index that fits. And to be equal to something is also to lie between it and itself:
-- so the planner takes it for rare, and the index that begins with it for the best, whatever the statistics were.
WITH states AS MATERIALIZED (
    SELECT workflow_id, what, sum(count)::bigint AS count FROM counts
    WHERE hour = -1
      AND workflow_id = $workflow_id -- only: workflow_id
    GROUP BY workflow_id, what HAVING sum(count) <> 0
),
recent AS MATERIALIZED ( -- what has not been moved to `past_counts`
    SELECT stage, (hour - $1::integer) / $3::integer AS step, what, bucket, sum(count)::bigint AS count
    FROM counts
    WHERE true
      AND (workflow_id, hour) >= ('00000000-0000-0000-0000-000000000000'::uuid, $1::integer) -- unless: workflow_id
      AND (workflow_id, hour) < ('00000000-0000-0000-0000-000000000000'::uuid, $2::integer) -- unless: workflow_id
      AND (workflow_id, hour) >= ($workflow_id, $1::integer) -- only: workflow_id
      AND (workflow_id, hour) < ($workflow_id, $2::integer) -- only: workflow_id
    GROUP BY stage, (hour - $1::integer) / $3::integer, what, bucket
),
past AS MATERIALIZED (
    SELECT stage, (hour - $1::integer) / $3::integer AS step, what, counts
    FROM past_counts
    WHERE step = $3::integer AND hour >= $1::integer AND hour < $2::integer
      AND workflow_id = '00000000-0000-0000-0000-000000000000' -- unless: workflow_id
      AND workflow_id = $workflow_id -- only: workflow_id
),
known AS MATERIALIZED (
    SELECT workflow_id, coalesce(sum(count) FILTER (WHERE what NOT IN ('succeeded', 'failed', 'aborted')), 0) AS live
    FROM states GROUP BY workflow_id
),
listed AS MATERIALIZED (
    SELECT workflow_id, row_number() OVER (ORDER BY live DESC, workflow_id) AS place FROM known
    ORDER BY live DESC, workflow_id LIMIT $4::integer
)
SELECT
    (SELECT count(*) FROM known)::integer,
    (SELECT json_agg(json_build_array(l.workflow_id, coalesce(w.name, '')) ORDER BY l.place)
     FROM listed l LEFT JOIN workflows w ON w.id = l.workflow_id)::text,
    (SELECT json_agg(json_build_array(what, count)) FROM (
        SELECT what, sum(count)::bigint AS count FROM states GROUP BY what) c)::text,
    (SELECT json_agg(json_build_array(workflow_id, what, count)) FROM states
     WHERE workflow_id = ANY(ARRAY(SELECT workflow_id FROM listed)))::text,
    (SELECT json_agg(json_build_array(stage, step, what, bucket, count)) FROM recent)::text,
    (SELECT json_agg(json_build_array(stage, step, what, counts)) FROM past)::text,
    (SELECT json_agg(json_build_array(s.state, o.id, o.workflow_id, o.created_at, o.waiting, o.activity))
     FROM unnest('{running,waiting,delayed,retrying,paused}'::text[]) AS s (state)
     CROSS JOIN LATERAL (
        SELECT id, workflow_id, created_at, waiting, activity FROM instances i
        WHERE i.state = s.state AND i.state BETWEEN s.state AND s.state
          AND workflow_id = $workflow_id AND workflow_id BETWEEN $workflow_id AND $workflow_id -- only: workflow_id
        ORDER BY created_at, id LIMIT 1
    ) o)::text
