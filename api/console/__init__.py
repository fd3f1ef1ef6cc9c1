"""The console: pages that show where a payment is and what it waits for, under `<base path>/console/`.

Plain JavaScript modules without a build step (ADR 43, `docs/console.md`). They call the operations of v2 and nothing
else, so whoever may not do something with a token may not do it here.

| module | holds |
|---|---|
| `files` | `ConsoleFiles`: what is in `static`, its digest, gzip and brotli |
| `sign_in` | `SignIn`: how people sign in at the OIDC issuer, for the pages and for the security policy |
| `security` | the headers that keep foreign scripts out |
| `routes` | the routes |
| `static/` | the pages: `main.js` is their entry |
"""
