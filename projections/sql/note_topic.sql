-- Notes which log the positions of some partitions are of, where that is not known yet.
UPDATE positions SET topic_id = $1 WHERE partition = ANY($2::integer[]) AND topic_id = ''
RETURNING partition
