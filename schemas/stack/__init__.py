"""Calls over HTTP: the stack, for activities (engine) and for `link()` (engine and API), and issuers of tokens.

The stack is what Formance calls the services that an installation works with: ledger, wallets, payments.

| module | holds |
|---|---|
| `transport`, `session`, `exchange` | one HTTP exchange; the pooled session that it uses; what these two share |
| `discovery` | OIDC discovery, for the stack's tokens and for those of the API's clients |
| `oauth` | access tokens by client credentials |
| `client` | a request with the service's credentials |
| `links` | fetching what `link()` names, with credentials for the stack's own origin alone |
| `answers` | refusals, shapes, texts that can be kept |
| `errors` | what can go wrong |
"""
