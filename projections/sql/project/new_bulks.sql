INSERT INTO bulks (id, partition, action, filter, expected, created_at, updated_at, stopped_at, terminated_at, request,
    created_by, created_reason, stopped_by, stopped_reason, pages, sent, lost, page, page_at)
SELECT r.id, r.partition, r.action, r.filter, r.expected, r.created_at, r.updated_at, r.stopped_at, r.terminated_at, r.request,
    r.created_by, r.created_reason, r.stopped_by, r.stopped_reason, r.pages, r.sent, r.lost,
    CASE WHEN r.terminated_at IS NULL THEN r.page END, r.page_at
FROM go, json_to_recordset($rows::json)
    AS r (id uuid, partition integer, action text, filter text, expected bigint, created_at timestamptz,
          updated_at timestamptz, stopped_at timestamptz, terminated_at timestamptz, request text, created_by text,
          created_reason text, stopped_by text, stopped_reason text, pages integer, sent bigint, lost bigint, page text,
          page_at timestamptz)
ON CONFLICT DO NOTHING
