"""`orchestration doctor`: looks at everything that an installation needs, and says what is wrong and what to do.

It only looks. Each module here holds checks: functions from what was found to lines for the user, without IO, but for
`examination`, which asks Kafka and Postgres.

| module | holds |
|---|---|
| `findings` | a line for the user: ok, a warning, or wrong |
| `kafka` | brokers, topics and their settings, rights, groups |
| `postgres` | what Postgres tells, and what of it is wrong |
| `progress` | how far engines and projections are behind, and whether the log is the one that the read model is of |
| `encryption` | whether the keys fit to what Kafka holds |
| `stack` | whether the stack answers |
| `fitting` | settings that do not fit each other, or Kafka's |
| `examination` | all of it, in order |
"""
