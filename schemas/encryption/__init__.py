"""Encryption at rest: what our topics hold is encrypted before it goes to Kafka, and decrypted when it comes back.

    process ──► schemas.kafka.sealed ──► Kafka          values of commands, events, snapshots, definitions, dead letters
                     │
                   Vault: seal, open ──► Keys            (docs/adr/0030-encryption-at-rest.md)

Only values are encrypted. Keys and headers of records (ids, types, versions, offsets) stay readable, but can't be
changed: they are authenticated together with the value. Header `encrypted` names the key. What a record's headers say
about all this is beside this package, in `schemas.encryption_marks`: whoever reads records needs it, and no key.

| module | holds |
|---|---|
| `keys` | the keys of an installation, as the settings name them |
| `vault` | seals and opens records |
"""
