-- A page of the workflows that are not deleted, next to a position, newest first; with `backwards`, the page before it.
SELECT id, name, definition, created_at, updated_at, deleted_at, request
FROM (
    (
        SELECT * FROM workflows
        WHERE NOT %(backwards)s AND deleted_at IS NULL
          AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) < (%(created_at)s, %(id)s::uuid))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) UNION ALL (
        SELECT * FROM workflows
        WHERE %(backwards)s AND deleted_at IS NULL
          AND (created_at, id) > (%(created_at)s, %(id)s::uuid)
        ORDER BY created_at, id LIMIT %(limit)s
    )
) w
ORDER BY created_at DESC, id DESC
