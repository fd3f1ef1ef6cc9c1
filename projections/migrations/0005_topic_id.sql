-- Which log the positions are of: Kafka's id of topic `events`, which is another one once the topic was deleted and made
-- again. Empty: not known yet; the projections fill it in when they look at the log.
ALTER TABLE positions ADD COLUMN topic_id text NOT NULL DEFAULT '';
