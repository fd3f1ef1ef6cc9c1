"""The HTTP API: a Starlette app that turns requests into commands and read models into answers (contract: `http-api`).

| module | holds |
|---|---|
| `app` | `create_app`: routes, start and stop |
| `command_log`, `sticky_partitioner` | appends commands to Kafka; which partition a new instance goes to |
| `command_offsets` | whether `commands` is still the log that the read model follows from |
| `log_reader` | reads an instance's records in the log |
| `ports`, `services` | what the operations work with |
| `routing` | which operation a request is for, and what is answered when it fails |
| `requests`, `calls` | what came: a request, and a request with the services that answer it |
| `answers`, `errors`, `refusals` | what goes: answers, what can be wrong, what the router refuses |
| `auth` | tokens: who may call the operations |
| `bodies` | JSON and YAML into values |
| `resources` | what an operation does, the same for every surface |
| `parameters` | parameters that operations on several resources have |
| `rendering` | rows into resources |
| `validation` | the text of a definition, checked; the command line uses it, too |
| `ids`, `authors` | ids that we make, and those in paths; who wants something, and why |
| `v1`, `v2`, `flows` | the surfaces: their paths, what they name differently |
| `cursors` | places in the lists of v2 |
| `streams` | live streams of instances |
| `console` | the pages for people |
| `waiting`, `web_pages` | how many requests may be in progress; what web pages may send |
| `health`, `metrics`, `openapi` | probes, Prometheus, the API's description |
"""
