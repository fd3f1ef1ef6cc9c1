SELECT request FROM event_requests WHERE instance_id = $1 AND key = $2
