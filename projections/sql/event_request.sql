-- The digest of the request with a key ($2) that an instance ($1) has got, and how many with any key it has got.
SELECT (SELECT request FROM event_requests WHERE instance_id = $1 AND key = $2),
       (SELECT count(*) FROM event_requests WHERE instance_id = $1)::integer
