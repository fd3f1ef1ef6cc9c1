-- What a retry of an instance goes on with, all of one moment: the instance, its workflow's definition, the last stage that
-- was started, the activities of that stage as JSON, the keys of requests, and how far its partition ($2) is.
SELECT i.workflow_id, w.definition, i.variables, i.request, w.max_attempts, i.terminated_at, i.error, i.retries,
       i.retryable, s.number, s.terminated_at, s.error,
       (SELECT json_agg(json_build_object('index', a.index, 'name', a.name, 'input', a.input, 'output', a.output,
                   'ended', a.terminated_at IS NOT NULL, 'error', a.error, 'last_failure', a.last_failure,
                   'code', a.last_failure_type, 'key_number', coalesce(a.key_number, 0),
                   'key_used', coalesce(a.key_used, false)) ORDER BY a.index)::text
        FROM activities a WHERE a.instance_id = i.id AND a.stage = s.number),
       -- Nobody knows which of them were the last, so of very many none are told.
       (SELECT CASE WHEN count(*) <= $3::int THEN json_agg(json_build_array(q.key, q.request) ORDER BY q.key) END::text
        FROM event_requests q WHERE q.instance_id = i.id),
       (SELECT count(*) FROM event_requests q WHERE q.instance_id = i.id)::integer,
       coalesce((SELECT p.next_offset FROM positions p WHERE p.partition = $2::int), 0)
FROM instances i
JOIN workflows w ON w.id = i.workflow_id
LEFT JOIN LATERAL (
    SELECT number, terminated_at, error FROM stages WHERE instance_id = i.id ORDER BY number DESC LIMIT 1
) s ON true
WHERE i.id = $1::uuid
