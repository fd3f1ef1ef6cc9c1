"""The HTTP API: a Starlette app that turns requests into commands and read models into answers (contract: `http-api`).

| module | holds |
|---|---|
| `app` | `create_app`: routes, start and stop |
| `command_log` | appends commands to Kafka |
| `ports`, `services` | what the operations work with |
| `routing`, `calls`, `answers`, `errors` | one request: which operation, what came, what goes |
| `auth` | tokens: who may call the operations |
| `bodies` | JSON and YAML into values |
| `resources` | what an operation does, the same for every surface |
| `rendering` | rows into resources |
| `v1`, `v2`, `flows` | the surfaces: their paths, what they name differently |
| `cursors` | places in the lists of v2 |
| `health`, `metrics`, `openapi` | probes, Prometheus, the API's description |
"""
