-- How far the read model is in each partition that it knows.
SELECT partition, next_offset, epoch, cause, topic_id FROM positions ORDER BY partition
