"""Listening to other services' messages (contract: triggers-and-events, When a trigger fires).

| module | holds |
|---|---|
| `definitions` | the current triggers and workflows in memory, followed from topic `definitions` |
| `judging` | evaluates a trigger's filter and variables |
| `failures` | filters that can't be evaluated: counted and logged |
| `matching` | a message and a trigger: whether it fires, and the command that follows |
| `listeners` | the configured topics, a listener for each |
| `listener` | one topic: its consumer group, from messages to commands |
| `positions` | where listening goes on in each topic, kept in our own log |
| `errors` | why a topic is not listened to |
| `evaluator` | evaluates the messages that need links, for their trigger's owner |
| `shares` | how many evaluations run at once, of all triggers and of each |

A message becomes one `FireTrigger` command for each trigger that it fires, or an `EvaluateTrigger` where that needs a
link, and its position is written after they are acknowledged. Repetitions come in the same order, so the trigger's own
aggregate tells them apart: it fires once.
"""
