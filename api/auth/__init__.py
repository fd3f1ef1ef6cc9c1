"""Authorization: who may call the operations (contract: `http-api`, Authorization and health).

| module | holds |
|---|---|
| `guard` | `make_guard`: puts the check of token and scopes before each operation |
| `tokens` | `TokenVerifier`: signature and claims of a JWT (RFC 7519, RFC 8725), and which tokens were found good |
| `keys` | `IssuerKeys`: the issuer's keys, kept and renewed |
| `issuer` | `Issuer`: fetches them, by OIDC discovery |
| `errors` | what a request is refused with |
"""
