-- Counts of what has happened in hours that are over, in few rows: one for each hour and one for each day, with all
-- buckets. The projections move them here from `counts`, some at a time (merge_counts.sql), those of before, too. A count
-- is the sum of both tables at any time.
CREATE TABLE past_counts (
    workflow_id uuid             NOT NULL,
    step        smallint         NOT NULL, -- hours in it: 1 or 24. All that is counted for its day; for its hour, if that is not long past
    hour        integer          NOT NULL, -- in which the step begins
    stage       integer          NOT NULL,
    what        text COLLATE "C" NOT NULL,
    counts      bigint[]         NOT NULL, -- by bucket, from 0 on
    PRIMARY KEY (workflow_id, step, hour, stage, what)
);
CREATE INDEX past_hours ON past_counts (hour) WHERE step = 1; -- which are deleted when they are long past

DROP INDEX counts_of_hours;
CREATE INDEX counts_of_hours ON counts (hour) WHERE hour >= 0; -- which go to `past_counts`
