INSERT INTO rejections (partition, cause, code, message, at)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (partition integer, cause bigint, code text, message text, at timestamptz)
ON CONFLICT DO NOTHING
