    UNION ALL (
        SELECT created_at, id FROM (
            SELECT created_at, id FROM instances WHERE id BETWEEN $own_id::uuid AND $own_id::uuid ORDER BY id LIMIT 1
        ) own
        WHERE (created_at, id) $beyond ($1::timestamptz, $2::uuid)
          AND created_at >= $oldest::timestamptz -- only: oldest
          AND created_at < $newest::timestamptz -- only: newest
          AND NOT EXISTS (
              SELECT FROM instance_keys WHERE key = $key::text AND created_at = own.created_at AND instance_id = own.id
          )
    )
