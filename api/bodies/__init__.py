"""Bodies of requests: read within their limit, and decoded from JSON or YAML into values that every process can keep.

| module | holds |
|---|---|
| `reading` | the bytes, no more than the limit and not for ever |
| `json_body` | one JSON value |
| `yaml_body` | one YAML document, without what JSON can't say |
| `places` | where the parts of a body are in its text |
| `values` | what no value may hold |
"""
