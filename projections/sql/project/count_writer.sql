    -- The first number that no other projector has now: they don't wait for each other, and leave few rows. Postgres makes
    -- the whole series first, so it is short; the projectors beyond it share a number.
    coalesce((SELECT n FROM generate_series(0, 31) n
              WHERE pg_try_advisory_xact_lock('counts'::regclass::oid::integer, n) LIMIT 1), 32),
