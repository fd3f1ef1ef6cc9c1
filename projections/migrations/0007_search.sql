-- What lists of instances are searched by: their state, and keys. Rows that were written before have neither: the state until
-- they change, the keys until `orchestration rebuild`. So the two new indexes on `instances` are empty at first: making them
-- reads the table once, and sorts nothing.

ALTER TABLE instances
    ADD COLUMN state text COLLATE "C", -- see projections.states
    ADD COLUMN keys  integer;          -- how many keys its events had so far, see projections.keys; NULL for none
CREATE INDEX instances_in_state ON instances (state, created_at DESC, id DESC) WHERE state IS NOT NULL;
CREATE INDEX instances_of_workflow_in_state ON instances (workflow_id, state, created_at DESC, id DESC)
    WHERE state IS NOT NULL;

-- By what an instance is found. Written once, never changed.
CREATE TABLE instance_keys (
    key         text COLLATE "C" NOT NULL, -- without its letter case
    created_at  timestamptz      NOT NULL, -- of the instance
    instance_id uuid             NOT NULL,
    PRIMARY KEY (key, created_at, instance_id)
);
