-- Which partitions have everything again that was ever shown of them. Postgres loses its last transactions in a crash, so
-- the rows must be lost with it too: Postgres empties an unlogged table after every crash, and on a standby that takes
-- over. What else puts older data in the place of newer (a backup that is restored) starts the server or makes the table
-- again; so a row counts only with the start of the server and the table that it was written into.
CREATE UNLOGGED TABLE caught_up (
    partition         integer     PRIMARY KEY,
    partitions        integer     NOT NULL, -- how many there are: all of them must be here
    server_started_at timestamptz NOT NULL,
    relation          oid         NOT NULL  -- this table
);
