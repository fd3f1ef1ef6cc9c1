"""HTTP/1.1 for every process that serves it: API, probes, sandbox.

| module | holds |
|---|---|
| `protocol` | one connection: requests into ASGI, and what a client may not do |
| `joined` | an answer's head and body in one piece |
| `refusals` | answers to requests that no application sees |
| `server` | the server with its listener, limits and orderly stop |
"""
