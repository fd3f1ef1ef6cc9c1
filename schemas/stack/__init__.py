"""How the stack is reached over HTTP, for activities (engine) and for `link()` (engine and API).

| module | holds |
|---|---|
| `transport` | one HTTP exchange with a pooled session |
| `oauth` | access tokens by client credentials |
| `client` | a request with the service's credentials |
| `links` | fetching what `link()` names, with credentials for the stack's own origin alone |
| `answers` | refusals, shapes, texts that can be kept |
| `errors` | what can go wrong |
"""
