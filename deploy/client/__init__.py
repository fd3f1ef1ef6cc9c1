"""The command line for people who use an installation: `orchestration workflows|instances|triggers …`.

| module | holds |
|---|---|
| `workflows`, `instances`, `triggers` | the commands, a group each |
| `groups` | groups whose commands have aliases |
| `definition_files` | `workflows validate`: files that are checked without a server |
"""
