-- The digest of the request that has started an instance ($1) that is deleted.
SELECT request FROM deleted_instances WHERE id = $1
