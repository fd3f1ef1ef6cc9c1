INSERT INTO bulk_outcomes (bulk_id, partition, outcome, instances)
SELECT r.* FROM go, json_to_recordset($rows::json)
    AS r (bulk_id uuid, partition integer, outcome text, instances bigint)
ON CONFLICT (bulk_id, partition, outcome) DO UPDATE SET instances = bulk_outcomes.instances + excluded.instances
