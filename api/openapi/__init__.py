"""The description of the API, OpenAPI 3.1, made from the tables of operations and the types of their bodies.

| module | holds |
|---|---|
| `document` | `document`: operations into the description |
| `routes` | `/openapi.json`, outside the base path and under it |
"""
