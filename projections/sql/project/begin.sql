-- One batch in one statement, which is one transaction and one round trip: rows, positions and the announcement.
-- Parameters: JSON list of advances ($1); channel ($2); JSON list of announcements ($3); then, between this beginning
-- and the end, the JSON list of rows (see `rows`) of each part that the batch has rows for.
-- Everything hangs on `go`: a row if every position is still where the batch starts from, else nothing happens.
WITH expected AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json)
        AS r (partition integer, first_offset bigint, next_offset bigint, epoch bigint, cause bigint)
),
held AS MATERIALIZED (
    SELECT p.partition
    FROM positions p JOIN expected e ON e.partition = p.partition AND e.first_offset = p.next_offset
    ORDER BY p.partition -- in the same order everywhere, so that two projectors never wait for each other
    FOR UPDATE OF p
),
go AS MATERIALIZED (
    SELECT FROM held HAVING count(*) = (SELECT count(*) FROM expected)
),
moved AS (
    UPDATE positions p SET next_offset = e.next_offset, epoch = e.epoch, cause = e.cause
    FROM expected e, go WHERE p.partition = e.partition
    RETURNING p.partition
)
