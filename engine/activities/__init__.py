"""Activities: calls of the stack over HTTP (contract: `workflows`, "Activities" and "Retries"; `stack-api`).

| module | holds |
|---|---|
| `attempts` | one attempt of an activity: from its input to a request, from the answer to a result |
| `caller`, `loop_thread` | `StackCaller`: attempts over HTTP, in a thread of their own |
| `ledger`, `wallets`, `payments` | what each service's activities send, and what their answers have to be. Pure |
| `operations` | what these share about requests: ids as parts of a path |

How the stack is reached (connections, tokens, refusals) is in `schemas.stack`.

An attempt never raises: whatever goes wrong is a `Failure` in its result, and `engine.core.retries` decides what
follows.
"""

from engine.activities.attempts import service_of

__all__ = ["service_of"]
