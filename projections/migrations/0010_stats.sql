-- Counts of instances and of their stages, which statistics are answered from (see projections.counting). Each batch adds
-- what its rows change. What was projected before is not counted until `orchestration rebuild`.
CREATE TABLE counts (
    what        text COLLATE "C" NOT NULL, -- a state, or 'started'
    stage       integer          NOT NULL, -- number of the stage; -1 for whole instances
    hour        integer          NOT NULL, -- since 1970, in UTC, of the start or the end; -1 for what holds now
    workflow_id uuid             NOT NULL, -- nil: all workflows together, of what happens to instances
    bucket      smallint         NOT NULL, -- of how long it took (see duration_bucket); 0 for what has not ended
    writer      smallint         NOT NULL, -- projectors that write at the same time have rows of their own
    count       bigint           NOT NULL, -- may be below 0: only the sum of all writers says something
    PRIMARY KEY (workflow_id, hour, what, stage, bucket, writer)
) WITH (fillfactor = 50); -- the rows of this hour are changed by every batch; the room keeps them on their pages
CREATE INDEX counts_of_now ON counts (workflow_id, what) WHERE hour = -1;
CREATE INDEX counts_of_hours ON counts (hour) WHERE hour >= 0 AND hour % 24 <> 0; -- which become days later

-- The hour of an instant, in hours since 1970.
CREATE FUNCTION hour_of(moment timestamptz) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN floor(extract(epoch FROM moment AT TIME ZONE 'UTC') / 3600)::integer;

-- The bucket of how long something took: how many of these microseconds are not above that.
CREATE FUNCTION duration_bucket(started timestamptz, ended timestamptz) RETURNS integer
IMMUTABLE PARALLEL SAFE LANGUAGE sql
RETURN width_bucket(
    (extract(epoch FROM ended - started) * 1000000)::bigint,
    ARRAY[
        1000, 1600, 2500, 4000, 6300,
        10000, 16000, 25000, 40000, 63000,
        100000, 160000, 250000, 400000, 630000,
        1000000, 1600000, 2500000, 4000000, 6300000,
        10000000, 16000000, 25000000, 40000000, 63000000,
        100000000, 160000000, 250000000, 400000000, 630000000,
        1000000000, 1600000000, 2500000000, 4000000000, 6300000000,
        10000000000, 16000000000, 25000000000, 40000000000, 63000000000,
        100000000000, 160000000000, 250000000000, 400000000000, 630000000000,
        1000000000000, 1600000000000, 2500000000000, 4000000000000, 6300000000000
    ]::bigint[]
);
