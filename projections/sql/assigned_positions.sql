-- Positions of some partitions, made where they are missing. Another projector may make them at the same time.
WITH made AS (
    INSERT INTO positions (partition, next_offset, epoch, cause)
    SELECT partition, 0, -1, -1 FROM unnest($1::integer[]) AS partition
    ON CONFLICT DO NOTHING
    RETURNING partition, next_offset, epoch, cause, topic_id
)
SELECT * FROM made
UNION ALL
SELECT partition, next_offset, epoch, cause, topic_id FROM positions WHERE partition = ANY($1::integer[])
