-- Deletes some instances of an outcome that ended before a time, with all that belongs to them. One process at a time does
-- so; others get no row. Parameters: the outcome ($1); the time ($2); the place behind which it looks ($3, $4), in the order in
-- which instances were created; how many it looks at ($5); how old they must be by this clock, too, in seconds ($6);
-- how many keys of requests a retry takes along ($7). Of more, the keys stay: a retry may be on its way, and the instance shows
-- again then. Nobody else could tell a repetition of one of these requests. One that has succeeded is never retried.
-- An instance that somebody changes in this moment is left for the next time. What became of it is looked at again once
-- its row is locked.
WITH alone AS MATERIALIZED (
    SELECT least($2::timestamptz, now() - $6::bigint * interval '1 second') AS ended_before
    WHERE pg_try_advisory_xact_lock('instances'::regclass::oid::integer, 0)
),
seen AS MATERIALIZED (
    SELECT s.*, a.ended_before
    FROM alone a CROSS JOIN LATERAL (
        SELECT id, created_at, terminated_at FROM instances
        WHERE state = $1::text AND state BETWEEN $1::text AND $1::text
          AND (created_at, id) > ($3::timestamptz, $4::uuid) AND created_at < a.ended_before
        ORDER BY created_at, id LIMIT $5::integer
    ) s
),
noted AS (
    INSERT INTO retention AS r (outcome, ended_before) SELECT $1::text, ended_before FROM alone
    ON CONFLICT (outcome) DO UPDATE SET ended_before = excluded.ended_before
    WHERE r.ended_before < excluded.ended_before
),
-- Arrays, so that each table is read by its index, whatever the planner believes.
doomed AS MATERIALIZED (
    SELECT id FROM instances
    WHERE id = ANY(ARRAY(SELECT id FROM seen WHERE terminated_at < ended_before))
      AND state = $1::text AND terminated_at < (SELECT ended_before FROM alone)
    FOR UPDATE SKIP LOCKED
),
ids AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM doomed) AS list
),
unsaid AS MATERIALIZED ( -- those whose requests a retry does not tell
    SELECT ARRAY(
        SELECT instance_id FROM event_requests
        WHERE instance_id = ANY((SELECT list FROM ids)::uuid[]) AND $1::text <> 'succeeded'
        GROUP BY instance_id HAVING count(*) > $7::integer
    ) AS list
),
gone AS (
    DELETE FROM instances WHERE id = ANY((SELECT list FROM ids)::uuid[]) RETURNING id, workflow_id, request
),
gone_stages AS (DELETE FROM stages WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])),
gone_activities AS (DELETE FROM activities WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])),
gone_past_stages AS (DELETE FROM past_stages WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])),
gone_past_activities AS (DELETE FROM past_activities WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])),
gone_requests AS (
    DELETE FROM event_requests WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])
        AND instance_id <> ALL((SELECT list FROM unsaid)::uuid[])
),
gone_keys AS (DELETE FROM instance_keys WHERE instance_id = ANY((SELECT list FROM ids)::uuid[])),
kept AS (
    INSERT INTO deleted_instances (id, request) SELECT id, request FROM gone WHERE request IS NOT NULL
    ON CONFLICT DO NOTHING
),
counted AS ( -- what holds now; what has happened stays counted
    INSERT INTO counts (what, stage, hour, workflow_id, bucket, writer, count)
    SELECT $1::text, -1, -1, workflow_id, 0,
$$project/count_writer
    -count(*)
    FROM gone GROUP BY workflow_id
    ON CONFLICT (what, stage, hour, workflow_id, bucket, writer) DO UPDATE SET count = counts.count + excluded.count
)
SELECT (SELECT count(*) FROM gone)::integer, (SELECT count(*) FROM seen)::integer, s.created_at, s.id
FROM alone LEFT JOIN LATERAL (SELECT created_at, id FROM seen ORDER BY created_at DESC, id DESC LIMIT 1) s ON true
