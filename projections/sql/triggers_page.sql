-- A page of the triggers that are not deleted, next to a position, newest first; with `backwards`, the page before it.
SELECT id, name, event, version, workflow_id, filter, vars, created_at, deleted_at, request
FROM (
    (
        SELECT * FROM triggers
        WHERE NOT %(backwards)s AND deleted_at IS NULL
          AND (%(folded_name)s = '' OR strpos(folded_name, %(folded_name)s) > 0)
          AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) < (%(created_at)s, %(id)s::uuid))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) UNION ALL (
        SELECT * FROM triggers
        WHERE %(backwards)s AND deleted_at IS NULL
          AND (%(folded_name)s = '' OR strpos(folded_name, %(folded_name)s) > 0)
          AND (created_at, id) > (%(created_at)s, %(id)s::uuid)
        ORDER BY created_at, id LIMIT %(limit)s
    )
) t
ORDER BY created_at DESC, id DESC
