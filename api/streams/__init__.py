"""Live streams of instances, as server-sent events (HTML standard, 9.2).

Every message about an instance is its whole state, as GET answers it. So a client that misses one is not wrong for
long, and what waits for a slow client can be dropped for what is newer.

| module | holds |
|---|---|
| `hub` | reads what has changed, once for all streams of the process; how many there may be |
| `followers` | what is kept for one stream until its client takes it |
| `messages` | the texts that are sent |
| `sending` | the answer: heartbeats, tokens that expire, the end |
"""
