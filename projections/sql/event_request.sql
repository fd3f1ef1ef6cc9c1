SELECT request FROM event_requests WHERE instance_id = %s AND key = %s
