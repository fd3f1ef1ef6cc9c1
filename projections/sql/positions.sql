SELECT partition, next_offset, epoch, cause FROM positions
