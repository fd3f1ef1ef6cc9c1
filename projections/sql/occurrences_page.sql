-- A page of a trigger's occurrences next to a position, newest first; with `backwards`, the page before it. Each comes
-- with its instance as it is now, which may be a moment behind in its own partition.
SELECT o.id, o.trigger_id, o.date, o.workflow_instance_id, o.event, o.error,
       i.id, i.workflow_id, i.created_at, i.updated_at, i.terminated_at, i.error
FROM (
    (
        SELECT * FROM occurrences
        WHERE NOT %(backwards)s AND trigger_id = %(trigger_id)s
          AND (%(created_at)s::timestamptz IS NULL OR (date, id) < (%(created_at)s, %(id)s::uuid))
        ORDER BY date DESC, id DESC LIMIT %(limit)s
    ) UNION ALL (
        SELECT * FROM occurrences
        WHERE %(backwards)s AND trigger_id = %(trigger_id)s
          AND (date, id) > (%(created_at)s, %(id)s::uuid)
        ORDER BY date, id LIMIT %(limit)s
    )
) o
LEFT JOIN instances i ON i.id = o.workflow_instance_id
ORDER BY o.date DESC, o.id DESC
