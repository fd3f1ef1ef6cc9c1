"""`orchestration verify`: folds the log again and compares the outcome with the read model, row by row, under traffic.

    fold the log up to the positions of the read model ──► open a snapshot of the read model
    ──► fold up to its positions ──► compare fingerprints of all rows
    ──► for what differs do it again, with whole rows

Everything that is compared is as of the positions that stand in the same snapshot as the rows, so it does not matter
that both go on meanwhile. The log is folded by what projects it (`projections.projector`), into a read model in memory.

Memory is bounded. Rows that change no more (of instances that have ended, occurrences) leave only their share in a
*fingerprint*: ids fall into a million buckets, and each bucket has the XOR of the hashes of its rows. What is left are
rows of what lives. If these are too many, fewer buckets are looked at, and the rest in another pass over the log.

| module | holds |
|---|---|
| `tables` | which tables and columns are compared, and the hash of a row |
| `buckets` | sets of buckets, and their fingerprints |
| `folded` | the read model in memory that the log is folded into |
| `counted` | whether the counts are those of the rows |
| `replay` | reads the log up to some positions |
| `read_model` | the read model as it is in Postgres, and a twin in memory |
| `skipped` | what is not compared, since the projections may have deleted it |
| `differences` | what differs, in words |
| `comparison` | the way through all this |
| `errors` | why there is no comparison |
"""

from projections.verification.comparison import verify
from projections.verification.differences import Report

__all__ = ["Report", "verify"]
