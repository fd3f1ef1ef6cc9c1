-- A page of instances as in `instances_page`, as long as they are small: one row for each of their stages, or one without
-- a stage. It bounds each instance instead of adding them up, which takes Postgres less time, and so does a join than to
-- make arrays of the stages.
-- The workflow is in the first row of an instance, if that is small: with the workflow, its texts have less than $4 bytes.
-- Without it, none of its texts is there either. When there are `max_rows` rows, some are missing.
-- `preceded` is the same in each row. Asked for by itself, it would double the time of each page but the first.
SELECT i.id, i.workflow_id, i.created_at, i.updated_at, i.terminated_at, CASE WHEN w.id IS NOT NULL THEN i.error END,
       i.request, CASE WHEN w.id IS NOT NULL THEN i.variables END, i.trigger_id, i.occurrence_id, i.activity,
       CASE WHEN w.id IS NOT NULL THEN i.waiting END, CASE WHEN w.id IS NOT NULL THEN i.acts END, i.retries,
       w.name, w.definition, w.created_at, w.updated_at, w.deleted_at, w.request, w.max_attempts,
       s.number, s.started_at, s.terminated_at, s.error
$$instances_preceded -- only: preceded
FROM (
$$instances_of_filter
) i
LEFT JOIN LATERAL (
    SELECT number, started_at, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number
) s ON true
LEFT JOIN workflows w
    ON w.id = i.workflow_id
    AND (s.number = 0) IS NOT FALSE
    AND octet_length(w.definition) + coalesce(octet_length(i.error), 0) + coalesce(octet_length(i.variables), 0)
        + coalesce(octet_length(i.waiting), 0) + coalesce(octet_length(i.acts), 0) < $4::bigint
ORDER BY place_at $order, place_id $order
LIMIT $max_rows::bigint
