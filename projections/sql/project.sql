-- One batch in one statement, which is one transaction and one round trip: rows, positions and the announcement.
-- Parameters: JSON lists of advances, workflows, instances, stages, activities, rejections, triggers, occurrences
-- and event requests ($1 to $9, see `rows`); channel ($10); JSON list of announcements ($11).
-- Everything hangs on `go`: a row if every position is still where the batch starts from, else nothing happens.
WITH expected AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json)
        AS r (partition integer, first_offset bigint, next_offset bigint, epoch bigint, cause bigint)
),
held AS MATERIALIZED (
    SELECT p.partition
    FROM positions p JOIN expected e ON e.partition = p.partition AND e.first_offset = p.next_offset
    ORDER BY p.partition -- in the same order everywhere, so that two projectors never wait for each other
    FOR UPDATE OF p
),
go AS MATERIALIZED (
    SELECT FROM held HAVING count(*) = (SELECT count(*) FROM expected)
),
moved AS (
    UPDATE positions p SET next_offset = e.next_offset, epoch = e.epoch, cause = e.cause
    FROM expected e, go WHERE p.partition = e.partition
    RETURNING p.partition
),
workflow_rows AS MATERIALIZED (
    SELECT * FROM go, json_to_recordset($2::json)
        AS r (id uuid, name text, definition text, created_at timestamptz, updated_at timestamptz,
              deleted_at timestamptz, request text)
),
new_workflows AS (
    INSERT INTO workflows (id, name, definition, created_at, updated_at, deleted_at, request)
    SELECT id, name, definition, created_at, updated_at, deleted_at, request
    FROM workflow_rows WHERE created_at IS NOT NULL
    ON CONFLICT DO NOTHING
),
changed_workflows AS (
    UPDATE workflows w SET updated_at = r.updated_at, deleted_at = r.deleted_at
    FROM workflow_rows r WHERE r.created_at IS NULL AND w.id = r.id
),
instance_rows AS MATERIALIZED (
    SELECT * FROM go, json_to_recordset($3::json)
        AS r (id uuid, workflow_id uuid, created_at timestamptz, updated_at timestamptz, terminated_at timestamptz,
              error text, request text)
),
new_instances AS (
    INSERT INTO instances (id, workflow_id, created_at, updated_at, terminated_at, error, request)
    SELECT id, workflow_id, created_at, updated_at, terminated_at, error, request
    FROM instance_rows WHERE created_at IS NOT NULL
    ON CONFLICT DO NOTHING
),
changed_instances AS (
    UPDATE instances i SET updated_at = r.updated_at, terminated_at = coalesce(r.terminated_at, i.terminated_at),
        error = coalesce(r.error, i.error)
    FROM instance_rows r WHERE r.created_at IS NULL AND i.id = r.id
),
stage_rows AS MATERIALIZED (
    SELECT * FROM go, json_to_recordset($4::json)
        AS r (instance_id uuid, number integer, name text, input text, started_at timestamptz,
              terminated_at timestamptz, error text)
),
new_stages AS (
    INSERT INTO stages (instance_id, number, name, input, started_at, terminated_at, error)
    SELECT instance_id, number, name, input, started_at, terminated_at, error
    FROM stage_rows WHERE started_at IS NOT NULL
    ON CONFLICT DO NOTHING
),
changed_stages AS (
    UPDATE stages s SET terminated_at = r.terminated_at, error = r.error
    FROM stage_rows r WHERE r.started_at IS NULL AND s.instance_id = r.instance_id AND s.number = r.number
),
activity_rows AS MATERIALIZED (
    SELECT * FROM go, json_to_recordset($5::json)
        AS r (instance_id uuid, stage integer, index integer, name text, input text, output text, attempt integer,
              started_at timestamptz, terminated_at timestamptz, error text, last_failure text,
              next_execution timestamptz)
),
new_activities AS (
    INSERT INTO activities (instance_id, stage, index, name, input, output, attempt, started_at, terminated_at, error,
        last_failure, next_execution)
    SELECT instance_id, stage, index, name, input, output, attempt, started_at, terminated_at, error,
        last_failure, next_execution
    FROM activity_rows WHERE started_at IS NOT NULL
    ON CONFLICT DO NOTHING
),
changed_activities AS (
    UPDATE activities a SET output = r.output, attempt = r.attempt, terminated_at = r.terminated_at, error = r.error,
        last_failure = coalesce(r.last_failure, a.last_failure), next_execution = r.next_execution
    FROM activity_rows r
    WHERE r.started_at IS NULL AND a.instance_id = r.instance_id AND a.stage = r.stage AND a.index = r.index
),
new_event_requests AS (
    INSERT INTO event_requests (instance_id, key, request)
    SELECT r.* FROM go, json_to_recordset($9::json) AS r (instance_id uuid, key uuid, request text)
    ON CONFLICT DO NOTHING
),
new_rejections AS (
    INSERT INTO rejections (partition, cause, code, message, at)
    SELECT r.* FROM go, json_to_recordset($6::json)
        AS r (partition integer, cause bigint, code text, message text, at timestamptz)
    ON CONFLICT DO NOTHING
),
trigger_rows AS MATERIALIZED (
    SELECT * FROM go, json_to_recordset($7::json)
        AS r (id uuid, name text, folded_name text, event text, version text, workflow_id uuid, filter text, vars text,
              created_at timestamptz, deleted_at timestamptz, request text)
),
new_triggers AS (
    INSERT INTO triggers (id, name, folded_name, event, version, workflow_id, filter, vars, created_at, deleted_at,
        request)
    SELECT id, name, folded_name, event, version, workflow_id, filter, vars, created_at, deleted_at, request
    FROM trigger_rows WHERE created_at IS NOT NULL
    ON CONFLICT DO NOTHING
),
changed_triggers AS (
    UPDATE triggers t SET deleted_at = r.deleted_at
    FROM trigger_rows r WHERE r.created_at IS NULL AND t.id = r.id
),
new_occurrences AS (
    INSERT INTO occurrences (id, trigger_id, date, workflow_instance_id, event, error)
    SELECT r.* FROM go, json_to_recordset($8::json)
        AS r (id uuid, trigger_id uuid, date timestamptz, workflow_instance_id uuid, event text, error text)
    ON CONFLICT DO NOTHING
)
SELECT (SELECT count(*) FROM moved) = (SELECT count(*) FROM expected),
       (SELECT count(pg_notify($10::text, n)) FROM go, json_array_elements_text($11::json) n)
