"""Runs bulk operations: finds the instances of an operation page by page, and sends its action to each of them.

    a page of instances behind the last one ──► AdvanceBulk ──► BulkAdvanced: these instances, in the log
    ──► their commands ──► outcomes, counted in the read model ──► the next page

Nothing of it is kept here but what saves work. The log says which instances are in a page, so whoever runs the
operation next sends the same commands, and engines know commands that come again (see `engine.core.bulk`). The read
model counts outcomes exactly, since they come in its batches.

Commands under way are bounded by a page for each operation that runs. So others never wait for long behind them.

| module | holds |
|---|---|
| `steps` | what an operation needs next; pure |
| `actions` | the command for each instance of a page, by action |
| `sending` | appends commands, and tells whether all of them have been decided |
| `reads` | what operations need of the read model |
| `runner` | does the steps of all operations of this process's partitions |
| `metrics` | what it shows Prometheus |
"""

from projections.bulk.runner import BulkRunner

__all__ = ["BulkRunner"]
