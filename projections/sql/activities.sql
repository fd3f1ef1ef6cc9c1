-- The activities of a stage; one row of NULLs when it has none, no row when it did not start.
SELECT a.index, a.name, a.input, a.output, a.attempt, a.started_at, a.terminated_at, a.error, a.last_failure,
       a.next_execution
FROM stages s
LEFT JOIN activities a ON a.instance_id = s.instance_id AND a.stage = s.number
WHERE s.instance_id = %s AND s.number = %s
ORDER BY a.index
