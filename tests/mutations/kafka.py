"""Between the engine and Kafka: the feed of commands, the topics that it writes, listening for triggers."""

from typing import Final

from tests.mutations.mutation import Mutation

FEED: Final = "engine/command_feed.py"
LISTENER: Final = "engine/triggers/listener.py"
LOG: Final = "engine/kafka_log.py"
POSITIONS: Final = "engine/triggers/positions.py"
SNAPSHOTS: Final = "engine/kafka_snapshots.py"

MUTATIONS: Final = (
    Mutation(
        "what comes back to a member not fed",
        FEED,
        "        for partition in self._fed.keys() - self._known:\n",
        "        for partition in set[int]():\n",
        "A partition that its engine has lost and got again in one rebalance stands still for ever.",
    ),
    Mutation(
        "what a member has lost taken for kept",
        FEED,
        "        self._known -= {place.partition for place in places}\n",
        "        pass\n",
        "As above.",
    ),
    Mutation(
        "commands behind a gap taken",
        FEED,
        "                self._move(number, records[-1].offset + 1)\n",
        "                self._move(number, records[-1].offset + 2)\n",
        "The feed takes all commands for those behind a gap, and the partition stands still.",
    ),
    Mutation(
        "the feed begins behind what comes next",
        FEED,
        "        self._move(partition, next_offset)\n        self._done[partition] = next_offset\n",
        "        self._move(partition, next_offset + 1)\n        self._done[partition] = next_offset + 1\n",
        "The first command after a takeover is never decided.",
    ),
    Mutation(
        "a member that failed not replaced",
        FEED,
        "            self._on_assigned(set())\n            await asyncio.sleep(RECONNECT_SECONDS)\n",
        "            self._on_assigned(set())\n            return\n",
        "An engine whose member met a fault works no more, and does not know it.",
    ),
    Mutation(
        "run commands to the wrong partition",
        LOG,
        "partition_of(key.encode(), partitions), [])",
        "partition_of(key.encode(), partitions) and 0, [])",
        "An occurrence starts its instance where nobody looks for it.",
    ),
    Mutation(
        "definitions of one turn lost",
        LOG,
        "        records = [record for current in definitions for record in records_of(current, timestamp_ms)]\n",
        "        records = [record for current in definitions[1:] for record in records_of(current, timestamp_ms)]\n",
        "A trigger that was created never fires.",
    ),
    Mutation(
        "what was not committed restored",
        SNAPSHOTS,
        "            async with self._kafka.reader(committed_only=True) as reader:\n",
        "            async with self._kafka.reader() as reader:\n",
        "A restore takes half a snapshot, which its writer gave up, for the state.",
    ),
    Mutation(
        "writers of a partition with different names",
        SNAPSHOTS,
        'f"{self._name}{partition}", open_seconds',
        'f"{self._name}{partition}-{id(self)}", open_seconds',
        "An owner that was superseded replaces newer states by older ones, behind the back of the new owner.",
    ),
    Mutation(
        "positions before the commands",
        LISTENER,
        "        await self._send()\n        self._next.update(done)\n",
        "        self._next.update(done)\n        await self._send()\n",
        "A message whose command could not be sent is never looked at again: its payment is not made.",
    ),
    Mutation(
        "messages judged by old definitions",
        LISTENER,
        "            await asyncio.gather(self._reader.catch_up(), self._look())\n",
        "            await self._look()\n",
        "A message that comes right after its trigger was created does not fire it.",
    ),
    Mutation(
        "listening goes on at the end",
        LISTENER,
        "            begins[place] = min(max(offset, oldest), end)\n",
        "            begins[place] = end\n",
        "What comes while no engine listens fires nothing.",
    ),
    Mutation(
        "commands of messages sent in another order",
        LISTENER,
        "            await self._log.send(self._unsent, self._now_ms())\n",
        "            await self._log.send(self._unsent[::-1], self._now_ms())\n",
        "A message that comes behind a later one is taken for a repeated one: its payment is not made.",
    ),
    Mutation(
        "listening goes on one too far",
        POSITIONS,
        "            return position.next_offset\n",
        "            return position.next_offset + 1\n",
        "The first message after a takeover fires nothing.",
    ),
)
