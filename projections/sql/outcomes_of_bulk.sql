-- What became of the commands of a bulk operation `b`, as arrays (NULL while nothing did).
CROSS JOIN LATERAL (
    SELECT array_agg(outcome), array_agg(instances)
    FROM (
        SELECT outcome, sum(instances)::bigint AS instances
        FROM bulk_outcomes WHERE bulk_id = b.id
        GROUP BY outcome ORDER BY outcome
    ) counted
) o (outcomes, counts)
