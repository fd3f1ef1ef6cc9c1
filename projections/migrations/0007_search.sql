-- The state of an instance (see projections.states), for lists. Rows that were written before have none until they change,
-- or until `orchestration rebuild`.
ALTER TABLE instances ADD COLUMN state text COLLATE "C";
