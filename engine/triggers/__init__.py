"""Listening to other services' messages (contract: triggers-and-events, When a trigger fires).

| module | holds |
|---|---|
| `definitions` | the current triggers and workflows in memory, followed from topic `definitions` |
| `matching` | a message and a trigger: whether it fires, and the command that follows |
| `listeners` | the configured topics, a listener for each |
| `listener` | one topic: its consumer group, from messages to commands |
| `positions` | where listening goes on in each topic, kept in our own log |
| `errors` | why a topic is not listened to |

A message becomes one `FireTrigger` command for each trigger that it fires, and its position is written after they are
acknowledged. Repetitions come in the same order, so the trigger's own aggregate tells them apart: it fires once.
"""
