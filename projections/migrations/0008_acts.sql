-- What people did, and why (see projections.queries.acts): one JSON object a line, NULL when nobody and nothing is known.
-- Rows that were written before have none of it until `orchestration rebuild`. None of the columns is in an index: most
-- updates stay on their page.
ALTER TABLE workflows ADD COLUMN acts text;
ALTER TABLE instances ADD COLUMN acts text;
ALTER TABLE triggers ADD COLUMN acts text;
