"""`orchestration rebuild`: builds the read model from the log, beside the live one, and swaps the two.

1. A second schema is made and migrated; what an interrupted rebuild left behind is dropped first.
2. The log is read into it from its start, until it has caught up with the live one. Indexes that this does not need are
   made then: over rows that are there, that takes a fraction of what it takes row by row.
3. What ended long ago is deleted again, if settings say so. Not before: the log may have a retry of it further on.
4. In one transaction: the live positions are locked, which holds its projectors up for a moment; what they wrote last
   is read as well; the schemas are renamed. Only then the old one is dropped.

Projectors and API stay connected all the time. Postgres plans their prepared statements again after the renaming, and
projectors find that positions moved, so they load them.

What the log does not hold any more would be lost. So this refuses to begin when `events` does not begin at its start,
or is not the log that the live read model is about; and it gives up when it meets a filler (`schemas.fillers`), in
whose place there was something else.

| module | holds |
|---|---|
| `held` | where the live read model is, and whether the log holds all that it shows |
| `replay` | reads the log into the new schema |
| `indexes` | indexes that are taken away, and made when the rows are there |
| `rebuilding` | the way through all this, and the swap |
"""

from projections.rebuild.rebuilding import rebuild

__all__ = ["rebuild"]
