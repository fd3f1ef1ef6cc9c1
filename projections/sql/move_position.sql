-- Moves a position by hand, unless it was moved meanwhile.
UPDATE positions SET next_offset = $4, epoch = $5, topic_id = $6
WHERE partition = $1 AND next_offset = $2 AND epoch = $3
RETURNING partition
