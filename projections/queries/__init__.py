"""What the API asks of the read model, and when it may.

| module | holds |
|---|---|
| `read_model` | all questions: begin here |
| `columns` | how rows (`projections.read_rows`) are made of the statements' columns |
| `pages`, `searching`, `small_instances` | a page of a list; of instances that were searched; of those that are small |
| `instance_filters`, `passing` | which instances a list is about, for a statement and for a row that was read |
| `stats`, `bulks`, `retryable` | statistics, bulk operations, and what a retry needs |
| `positions`, `caught_up` | how far the read model is, and waiting until it is far enough; whether it may be read |
| `changes`, `followed` | which instances have changed, and reading them again; for streams |
| `connections` | connections with prepared statements |
| `loader`, `sharing`, `leases`, `timed_futures` | fewer queries for many callers |
| `errors` | what can go wrong |
"""
