"""Recorded histories: what builds have written, which every later build has to read.

    data/<generation>/<story>.jsonl        the records of one partition, as the build of that time wrote them
    data/<generation>/<story>.state.json   what they come to: entries of the state, effects, rows, public events
    layouts.json                           the fields of every message, by schema version

Records and layouts are never edited: logs of installations hold the like. A new message, or a new field with a default,
is added to `layouts.json` by `freeze`; a changed message is a new schema version (see `schemas.upcasters`). When there
is something new to be recorded, `record` makes the next generation of all stories. The states may be written again
(`restate`) when this build shows or keeps the same history in another way; read the difference before you commit it.

    python -m tests.histories record GENERATION
    python -m tests.histories restate
    python -m tests.histories freeze

| module | holds |
|---|---|
| `lines` | the files |
| `recorder` | an owner of a partition that writes down all that it writes, and what it was given |
| `stories` | what happens |
| `states` | what a history comes to, as files keep it |
| `folding` | a history read again: restored, decided again, projected |
| `deciding` | a history decided once more, to the same events |
| `layouts` | the fields of messages |
"""
