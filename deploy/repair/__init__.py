"""`orchestration topics repair`: makes topics whole that were cut or created again.

    survey ──► facts ──► findings ──► acts
    asks Kafka and Postgres           fillers, positions, definitions

| module | holds |
|---|---|
| `facts` | what is known of one partition, and what Kafka holds of it |
| `survey`, `partition_log` | finds that out; reads a partition |
| `owners` | whether the read model is that of this installation |
| `findings` | what is wrong, and what would repair it; pure |
| `acts`, `definitions` | does it; the records that topic `definitions` has to get again |
| `command` | puts these together, and tells the user |

Nothing is done that is not needed, so a second run after a repair finds nothing wrong. A run that is interrupted is
made up for by the next one.
"""
