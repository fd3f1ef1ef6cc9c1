"""How the processes are started.

| module | holds |
|---|---|
| `cli`, `entry`, `errors` | the command line; where it begins; what it says in one line |
| `client` | its commands for people who use an installation, over the API |
| `event_log`, `doctor`, `repair` | `orchestration log`, `doctor`, and `topics repair` |
| `progress` | how far a long command is |
| `roles` | what a process is: an API, an engine or the projections, with its `probes` |
| `process`, `garbage` | one process: its signals, deadlines and `logs`; how often it looks for cycles |
| `workers` | several processes of the API behind one port |
| `http` | the HTTP server of every process |
| `topics` | makes the topics |
| `dev`, `demo` | everything on one machine, and a scenario on it |
| `installation`, `children` | the processes of `dev` and `demo`: started, watched, started again, stopped |
| `pauses` | how long a process is not started again |
| `embedded` | the Kafka and the Postgres that they run on |
| `scenarios` | `orchestration test`: scenarios of workflows, on a virtual clock |
| `bench` | `orchestration bench`: the load generator, and what it finds |
| `sandbox` | a stand-in for the stack: the services that activities call |
| `bootstrap` | installs it all with nothing but Python and pip |
| `container`, `compose`, `prometheus`, `grafana` | image, containers, alerts, dashboard |
"""
