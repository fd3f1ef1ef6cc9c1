-- Bulk operations: an action on many instances, page by page (see projections.bulk).

CREATE TABLE bulks (
    id             uuid        PRIMARY KEY,
    partition      integer     NOT NULL, -- whose owner runs it
    action         text        NOT NULL,
    filter         text        NOT NULL, -- JSON, see projections.queries.instance_filters
    expected       bigint,               -- how many instances passed the filter at first; NULL: too many to be counted
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    stopped_at     timestamptz,          -- when somebody wanted no further page
    terminated_at  timestamptz,
    request        text,                 -- as in workflows
    created_by     text,
    created_reason text,
    stopped_by     text,
    stopped_reason text,
    pages          integer     NOT NULL, -- how many have begun
    sent           bigint      NOT NULL, -- how many instances are in them
    lost           bigint      NOT NULL, -- for how many of these nobody knows the outcome
    page           text,                 -- JSON list of the instances of the last page, until the operation has ended
    page_at        timestamptz           -- when the last of them was created
) WITH (fillfactor = 50);
CREATE INDEX bulks_newest ON bulks (created_at DESC, id DESC);
CREATE INDEX bulks_running ON bulks (partition) WHERE terminated_at IS NULL;

-- What became of the commands of an operation, by the partition of the instances, so that each row has one writer.
CREATE TABLE bulk_outcomes (
    bulk_id   uuid    NOT NULL,
    partition integer NOT NULL,
    outcome   text    NOT NULL, -- DONE, or why a command was rejected
    instances bigint  NOT NULL,
    PRIMARY KEY (bulk_id, partition, outcome)
) WITH (fillfactor = 50);
