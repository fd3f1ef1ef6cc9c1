"""How fast an installation is: `orchestration bench`.

| module | holds |
|---|---|
| `command` | the command |
| `load`, `http` | the load generator, and the connections of its clients |
| `figures` | what one round has measured |
| `scenarios`, `preparing` | what is measured, and what has to be there before |
| `running` | the rounds, one after the other |
| `server_cpu`, `machine` | the server's CPU time; the machine, versions and the commit |
| `report`, `comparison` | what is kept as JSON; two of them side by side |
| `tables`, `page`, `charts` | what people see: in a terminal, and as a page |
"""
