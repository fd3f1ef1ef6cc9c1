-- Events that were sent with an Idempotency-Key, so that a repetition is known also after the instance has ended.
CREATE TABLE event_requests (
    instance_id uuid NOT NULL,
    key         uuid NOT NULL, -- made of the Idempotency-Key
    request     text NOT NULL, -- digest of the request
    PRIMARY KEY (instance_id, key)
);
