-- The read model. Everything here can be built anew from the event log.
-- JSON is kept as text: nothing searches in it, and it is answered exactly as it was recorded.

CREATE TABLE workflows (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL,
    definition text        NOT NULL, -- JSON list of the stages
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    request    text -- digest of the request that carried an Idempotency-Key
);
CREATE INDEX workflows_newest ON workflows (created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- Room on each page keeps updates of `updated_at`, which no index holds, beside the row they replace.
CREATE TABLE instances (
    id            uuid        PRIMARY KEY,
    workflow_id   uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    terminated_at timestamptz,
    error         text,
    request       text -- as in workflows
) WITH (fillfactor = 85);
CREATE INDEX instances_newest ON instances (created_at DESC, id DESC);
CREATE INDEX instances_of_workflow ON instances (workflow_id, created_at DESC, id DESC);
CREATE INDEX instances_running ON instances (created_at DESC, id DESC) WHERE terminated_at IS NULL;
CREATE INDEX instances_running_of_workflow ON instances (workflow_id, created_at DESC, id DESC)
    WHERE terminated_at IS NULL;

CREATE TABLE stages (
    instance_id   uuid        NOT NULL,
    number        integer     NOT NULL,
    name          text        NOT NULL,
    input         text        NOT NULL, -- JSON
    started_at    timestamptz NOT NULL,
    terminated_at timestamptz,
    error         text,
    PRIMARY KEY (instance_id, number)
) WITH (fillfactor = 90);

CREATE TABLE activities (
    instance_id    uuid        NOT NULL,
    stage          integer     NOT NULL,
    index          integer     NOT NULL,
    name           text        NOT NULL,
    input          text        NOT NULL, -- JSON
    output         text,                 -- JSON; NULL until it succeeded, and for activities without output
    attempt        integer     NOT NULL, -- the one that runs, comes next or was the last, from 1
    started_at     timestamptz NOT NULL,
    terminated_at  timestamptz,
    error          text,
    last_failure   text,
    next_execution timestamptz,
    PRIMARY KEY (instance_id, stage, index)
) WITH (fillfactor = 80);

-- How far each partition of `events` is in the tables above. Written by every transaction, so the pages stay mostly empty.
CREATE TABLE positions (
    partition   integer PRIMARY KEY,
    next_offset bigint NOT NULL, -- of the first record that is not in the read model
    epoch       bigint NOT NULL, -- offset of the newest claim before it, or -1
    cause       bigint NOT NULL  -- highest offset of a command whose outcome is in the read model, or -1
) WITH (fillfactor = 10);

CREATE TABLE rejections (
    partition integer     NOT NULL,
    cause     bigint      NOT NULL, -- offset of the rejected command
    code      text        NOT NULL,
    message   text        NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (partition, cause)
);
CREATE INDEX rejections_oldest ON rejections (at);
