-- Instances that ended long ago are deleted, if settings say so (see projections.retention). Making the first index reads
-- the table of keys once; until that is done nothing is projected.

-- The keys of an instance go with it.
CREATE INDEX keys_of_instance ON instance_keys (instance_id);

-- Instances that were started with an Idempotency-Key and were deleted. A repetition of the request must not run them again.
CREATE TABLE deleted_instances (
    id      uuid PRIMARY KEY,
    request text NOT NULL -- as in instances
);

-- Up to when instances of an outcome may have been deleted.
CREATE TABLE retention (
    outcome      text COLLATE "C" PRIMARY KEY, -- succeeded, failed or aborted
    ended_before timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Instances that were deleted while a retry was on its way: rows from the retry on.
ALTER TABLE instances ADD COLUMN restored boolean; -- NULL for all others
CREATE INDEX instances_restored ON instances (id) WHERE restored;
