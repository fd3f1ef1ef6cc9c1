-- Those that this batch does not start again: no row is changed by two parts of the statement.
DELETE FROM stages s
USING go, json_to_recordset($rows::json) AS r (instance_id uuid, stage integer, starts boolean)
WHERE s.instance_id = r.instance_id AND s.number = r.stage AND r.starts IS NOT true
