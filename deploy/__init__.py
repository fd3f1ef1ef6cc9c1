"""How the processes are started.

`cli` is the command line; `process` runs one process with its `logs` and `probes`; `topics` makes the topics; `dev`
runs everything on one machine with `supervisor` and `embedded` (Kafka, Postgres); `demo` shows a scenario on it;
`sandbox` stands in for the stack that activities call; `bootstrap` installs it all with nothing but Python and pip.
"""
