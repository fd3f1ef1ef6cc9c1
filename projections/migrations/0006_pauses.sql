-- Activities that are paused, what an instance waits for, what it was started with and by. Rows that were written before
-- have none of it until `orchestration rebuild`. None of the columns is in an index: most updates stay on their page.
ALTER TABLE workflows ADD COLUMN max_attempts integer; -- activityMaxAttempts of the definition
ALTER TABLE instances
    ADD COLUMN variables     text, -- JSON object
    ADD COLUMN trigger_id    uuid, -- NULL when a client started it
    ADD COLUMN occurrence_id uuid, -- likewise
    ADD COLUMN activity      text, -- name of the activity that runs, or was the last
    ADD COLUMN waiting       text; -- JSON list, see projections.queries.rows.WaitingRow; NULL while it waits for nothing
ALTER TABLE activities
    ADD COLUMN paused_at         timestamptz, -- these three only while it is paused
    ADD COLUMN max_attempts      integer,
    ADD COLUMN last_failure_type text;
