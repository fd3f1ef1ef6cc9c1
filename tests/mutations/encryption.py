"""What Kafka holds can't be read without a key, and every key opens what it has encrypted."""

from typing import Final

from tests.mutations.mutation import Mutation

KEYS: Final = "schemas/encryption/keys.py"
SEALED: Final = "schemas/kafka/sealed.py"
VAULT: Final = "schemas/encryption/vault.py"

MUTATIONS: Final = (
    Mutation(
        "old keys not read",
        KEYS,
        "        if not self.has(name):\n            return None\n",
        "        if not self.has(name) or (self.current or '') not in name.decode():\n            return None\n",
        "After a change of keys nothing that was there before can be read: all partitions stand still.",
    ),
    Mutation(
        "snapshots in plain text",
        SEALED,
        "        return await self._transactions.append(self._sealed(records))\n",
        "        return await self._transactions.append(records)\n",
        "Who may read topics reads names and accounts in the snapshots, although encryption is on.",
    ),
    Mutation(
        "batches in plain text",
        SEALED,
        "        return await self._producer.append_batch(topic, partition, sealed, deadline)\n",
        "        return await self._producer.append_batch(topic, partition, records, deadline)\n",
        "Who may read topics reads names and accounts in the events, although encryption is on.",
    ),
    Mutation(
        "values not bound to their records",
        VAULT,
        "    return _about_encoder.encode((topic, partition, key, headers))\n",
        '    return b""\n',
        "Who may write to topics moves a value to another record: a payment is made for another instance.",
    ),
    Mutation(
        "one nonce for all",
        VAULT,
        "        nonce = os.urandom(NONCE_BYTES)\n",
        "        nonce = bytes(NONCE_BYTES)\n",
        "Who has two records can tell what they say, and make others.",
    ),
    Mutation(
        "a missing key taken for damage",
        VAULT,
        "            return _damaged(record, mark, rest) if is_lost else _unusable(record, headers)\n",
        "            return _damaged(record, mark, rest)\n",
        "A process that was started without the new key rejects all commands as damaged.",
    ),
    Mutation(
        "plain records refused",
        VAULT,
        "            return record if not self._required or not sealed else _refused(topic, record)\n",
        "            return record if not sealed else _refused(topic, record)\n",
        "A log that was begun without encryption can't be read any more once it is on.",
    ),
)
