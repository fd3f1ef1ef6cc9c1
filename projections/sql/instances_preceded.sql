       , (
           -- Whether the list goes on at the position, or on its other side. (EXISTS would not be bound to an index.)
           SELECT true FROM instances
           WHERE (created_at, id) $upto ($1::timestamptz, $2::uuid)
             AND workflow_id = $workflow_id::uuid AND workflow_id BETWEEN $workflow_id::uuid AND $workflow_id::uuid -- only: workflow_id
             AND terminated_at IS NULL -- only: running
           ORDER BY created_at $opposite, id $opposite LIMIT 1
       ) AS preceded
