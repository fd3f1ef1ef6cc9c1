-- Which of some instances have which of some keys. Parameters: keys ($1); ids of instances ($2), and when each was created ($3).
SELECT k.key, i.id
FROM unnest($1::text[]) k (key)
CROSS JOIN unnest($2::uuid[], $3::timestamptz[]) i (id, created_at)
CROSS JOIN LATERAL (
    SELECT FROM instance_keys
    WHERE key = k.key AND created_at = i.created_at AND instance_id = i.id
    LIMIT 1 -- so each is looked up by the primary key, whatever the planner believes
) found
