UPDATE bulks b SET updated_at = r.updated_at, stopped_at = coalesce(r.stopped_at, b.stopped_at),
    terminated_at = coalesce(r.terminated_at, b.terminated_at), stopped_by = coalesce(r.stopped_by, b.stopped_by),
    stopped_reason = coalesce(r.stopped_reason, b.stopped_reason), pages = coalesce(r.pages, b.pages),
    sent = coalesce(r.sent, b.sent), lost = coalesce(r.lost, b.lost),
    page = CASE WHEN coalesce(r.terminated_at, b.terminated_at) IS NULL THEN coalesce(r.page, b.page) END,
    page_at = coalesce(r.page_at, b.page_at)
FROM go, json_to_recordset($rows::json)
    AS r (id uuid, updated_at timestamptz, stopped_at timestamptz, terminated_at timestamptz, stopped_by text,
          stopped_reason text, pages integer, sent bigint, lost bigint, page text, page_at timestamptz)
WHERE b.id = r.id
