-- A page of a trigger's occurrences next to a position, in the direction of reading. Each comes with its instance as it is
-- now, which may be a moment behind in its own partition. It ends early as `instances_page` does.
SELECT o.id, o.trigger_id, o.date, o.workflow_instance_id, o.event, o.error,
       i.id, i.workflow_id, i.created_at, i.updated_at, i.terminated_at, i.error, o.followed
FROM (
    SELECT *,
           sum(1000 + octet_length(event) + coalesce(octet_length(error), 0)) OVER reading AS bytes_before,
           lead(true) OVER reading AS followed
    FROM (
        SELECT * FROM occurrences
        WHERE trigger_id = $trigger_id::uuid AND (date, id) $beyond ($1::timestamptz, $2::uuid)
        ORDER BY date $order, id $order LIMIT $3::int + 1
    ) found
    WINDOW reading AS (ORDER BY date $order, id $order ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) o
LEFT JOIN instances i ON i.id = o.workflow_instance_id
WHERE o.bytes_before IS NULL OR o.bytes_before < $4::bigint
ORDER BY o.date $order, o.id $order
