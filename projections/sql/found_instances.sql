-- The places of the first instances that pass the filters, behind a position in the direction of reading. A list asks for
-- one more than its limit, which tells whether it goes on.
-- Each workflow and each state of the filters is a stream of its own, in the order of one index, and so is a key. The
-- streams are merged. What no index knows (`matches`) is looked at in at most `scan` rows of a stream. The row at which
-- the looking stopped comes along, `stopped`, whether or not it matches: what lies behind it is not known.
-- An instance is looked up in the order of the primary key, so no other index is taken for as good while the table is new.
SELECT f.place_at, f.place_id, f.matches, f.stopped
FROM (SELECT) AS one
CROSS JOIN unnest($workflow_ids::uuid[]) AS w (of_workflow) -- only: by_workflow
CROSS JOIN unnest($states::text[]) AS s (in_state) -- only: by_state
CROSS JOIN LATERAL (
    SELECT place_at, place_id, matches, seen = $scan::bigint AS stopped
    FROM (
        SELECT place_at, place_id, row_number() OVER (ORDER BY place_at $order, place_id $order) AS seen,
               true
               AND position($error IN lower(error COLLATE "C")) > 0 -- only: error
               AND terminated_at >= $ended_after -- only: ended_after
               AND terminated_at < $ended_before -- only: ended_before
               AND workflow_id = ANY($workflow_ids::uuid[]) -- only: key_workflow
               AND state = ANY($states::text[]) -- only: key_state
               AND terminated_at IS NULL -- only: key_running
               AS matches
        FROM (
$$instances_in_stream -- unless: key
$$instances_of_key -- only: key
        ) AS candidates
        CROSS JOIN LATERAL ( -- only: looked_up
            SELECT workflow_id, state, error, terminated_at FROM instances -- only: looked_up
            WHERE id BETWEEN place_id AND place_id ORDER BY id LIMIT 1 -- only: looked_up
        ) AS instance -- only: looked_up
    ) AS looked_at
    WHERE matches OR seen = $scan::bigint
    ORDER BY place_at $order, place_id $order
    LIMIT $3::int + 1
) AS f
ORDER BY f.place_at $order, f.place_id $order
LIMIT $3::int + 1
