-- The stages of an instance; one row of NULLs when it has none yet, no row when it is unknown.
SELECT s.number, s.name, s.input, s.started_at, s.terminated_at, s.error
FROM instances i
LEFT JOIN stages s ON s.instance_id = i.id
WHERE i.id = %s
ORDER BY s.number
