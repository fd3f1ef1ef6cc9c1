SELECT b.id, b.partition, b.action, b.filter, b.expected, b.created_at, b.updated_at, b.stopped_at, b.terminated_at,
       b.request, b.created_by, b.created_reason, b.stopped_by, b.stopped_reason, b.pages, b.sent, b.lost, b.page,
       b.page_at, o.outcomes, o.counts
FROM bulks b
$$outcomes_of_bulk
