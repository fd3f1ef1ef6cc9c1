"""Several processes of the API behind one port: `orchestration api --workers N`.

| module | holds |
|---|---|
| `parent` | the parent: starts the workers, starts those again that end, stops all |
| `place` | a worker: its place among the others, and what it and its parent tell each other |
| `metrics` | one answer to Prometheus with the metrics of all |

Each worker is a whole process of the API. They share nothing but the port (ADR 47).
"""
