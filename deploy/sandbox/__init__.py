"""A sandbox of the stack that activities call: ledger, wallets and payments, in memory.

For demos and tests only: nothing is kept, nobody is authorised, and every answer carries `X-Sandbox: true`. It answers
as the contract's page `stack-api` describes, and can be told to be slow, to fail or to lose answers.

| module | holds |
|---|---|
| `ledger`, `numscript` | double-entry ledgers, and the one script form that the service sends |
| `wallets`, `payments` | wallets and holds on top of a ledger; payments and transfer initiations |
| `idempotency`, `values`, `errors` | what these share |
| `faults`, `auth` | fault switches; access tokens |
| `state` | everything above as one resettable whole |
| `endpoint` | from ASGI to a plain function and back: body, token, faults, counters |
| `stack_routes`, `control_routes` | the functions behind `/api/…` and `/sandbox/…` |
| `app`, `server` | the Starlette application, and uvicorn running it |
"""

from deploy.sandbox.app import create_app
from deploy.sandbox.server import serve
from deploy.sandbox.state import SandboxSettings

__all__ = ["SandboxSettings", "create_app", "serve"]
