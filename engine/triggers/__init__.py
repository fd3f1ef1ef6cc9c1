"""Listening to other services' messages (contract: triggers-and-events, When a trigger fires).

| module | holds |
|---|---|
| `definitions` | the current triggers and workflows in memory, followed from topic `definitions` |
| `matching` | a message and a trigger: whether it fires, and the command that follows |
| `listener` | the consumer group on the configured topics, from messages to commands |

A message becomes one `FireTrigger` command for each trigger that it fires, and its offset is committed after they are
acknowledged. Repetitions come in the same order, so the trigger's own aggregate tells them apart: it fires once.
"""
