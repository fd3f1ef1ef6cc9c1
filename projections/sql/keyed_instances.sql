-- As `instances`; and of those that are deleted the id, and the digest of the request that has started them. Where nothing was
-- ever deleted by the settings, their table is not read.
$$instances
UNION ALL
SELECT d.id, NULL, NULL, NULL, NULL, NULL, d.request, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM deleted_instances d
WHERE EXISTS (SELECT FROM retention) AND d.id = ANY($1)
  AND NOT EXISTS (SELECT FROM instances i WHERE i.id = d.id) -- it was retried on its way out
