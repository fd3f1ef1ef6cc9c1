-- The first instances that a key finds. A key that is an id may be the instance's own.
SELECT place_at, place_id FROM (
    (
        SELECT created_at AS place_at, instance_id AS place_id FROM instance_keys
        WHERE key = $key::text AND (created_at, instance_id) $beyond ($1::timestamptz, $2::uuid)
          AND created_at >= $oldest::timestamptz -- only: oldest
          AND created_at < $newest::timestamptz -- only: newest
        ORDER BY created_at $order, instance_id $order LIMIT $scan::bigint
    )
$$instance_of_id -- only: own_id
) AS found
ORDER BY place_at $order, place_id $order LIMIT $scan::bigint
