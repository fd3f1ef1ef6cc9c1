-- Instances that ran more than once. What an earlier pass left in the stage that did not succeed is moved aside when the
-- next pass begins, so `stages` and `activities` have what counts now. Rows that were written before have nothing in
-- `retryable` until `orchestration rebuild`, so their instances can't be retried before.
ALTER TABLE instances
    ADD COLUMN retries   integer, -- how often it was retried; NULL for never
    ADD COLUMN retryable text;    -- JSON list, see projections.queries.rows.Retryable; NULL unless it ended with an error
ALTER TABLE activities
    ADD COLUMN key_number integer, -- of its idempotency key; NULL for the first
    ADD COLUMN key_used   boolean; -- whether an earlier pass has used this key

CREATE TABLE past_stages (
    instance_id   uuid        NOT NULL,
    retries       integer     NOT NULL, -- how often the instance had been retried before this pass
    number        integer     NOT NULL,
    name          text        NOT NULL,
    input         text        NOT NULL,
    started_at    timestamptz NOT NULL,
    terminated_at timestamptz,
    error         text,
    PRIMARY KEY (instance_id, number, retries)
);

CREATE TABLE past_activities (
    instance_id       uuid        NOT NULL,
    retries           integer     NOT NULL, -- as in past_stages
    stage             integer     NOT NULL,
    index             integer     NOT NULL,
    name              text        NOT NULL,
    input             text        NOT NULL,
    output            text,
    attempt           integer     NOT NULL,
    started_at        timestamptz NOT NULL,
    terminated_at     timestamptz,
    error             text,
    last_failure      text,
    last_failure_type text,
    key_number        integer,
    key_used          boolean,
    PRIMARY KEY (instance_id, stage, index, retries)
);
