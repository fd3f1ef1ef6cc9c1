"""The command line for people who use an installation: `orchestration workflows|instances|triggers …`.

| module | holds |
|---|---|
| `workflows`, `instances`, `triggers` | the commands, a group each |
| `bulk` | `instances bulk`: actions on many instances |
| `stats` | a command of its own |
| `instance_filters` | filters of instances, as options |
| `groups` | groups whose commands have aliases |
| `session` | what a command has at hand, and the options that all of them have |
| `profiles`, `connection` | where the API is and who calls it; the API over HTTP |
| `names`, `parsing`, `completion` | what the command line says |
| `output`, `timeline`, `acts`, `watching` | what a user sees: tables, JSON, an instance while it runs |
| `server_events`, `news` | streams of the API, and when an instance may have changed |
| `patience`, `repeats` | waiting for an API that is away; requests that may be sent once more |
| `questions`, `warnings`, `errors` | what is asked; what does not stop a command; what does, and the exit status |
| `definition_files` | `workflows validate`: files that are checked without a server |
"""
