-- Likewise.
DELETE FROM activities a
USING go, json_to_recordset($rows::json) AS r (instance_id uuid, stage integer, kept integer, activities integer[])
WHERE a.instance_id = r.instance_id AND a.stage = r.stage AND a.index >= r.kept
  AND a.index <> ALL(coalesce(r.activities, '{}'))
