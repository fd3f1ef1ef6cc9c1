-- Triggers and what they fired for.

CREATE TABLE triggers (
    id          uuid        PRIMARY KEY,
    name        text        NOT NULL,
    folded_name text        NOT NULL, -- the name without its letter case, for searching in any database locale
    event       text        NOT NULL,
    version     text,
    workflow_id uuid        NOT NULL,
    filter      text,
    vars        text,                 -- JSON object of expressions
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    request     text -- as in workflows
);
CREATE INDEX triggers_newest ON triggers (created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- Written once, never changed.
CREATE TABLE occurrences (
    id                   uuid        PRIMARY KEY,
    trigger_id           uuid        NOT NULL,
    date                 timestamptz NOT NULL,
    workflow_instance_id uuid,                 -- NULL when nothing was started
    event                text        NOT NULL, -- JSON, the whole message
    error                text
);
CREATE INDEX occurrences_of_trigger ON occurrences (trigger_id, date DESC, id DESC);
