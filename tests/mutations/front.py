"""From the log to the clients: the read model, public events, and what the API answers."""

from typing import Final

from tests.mutations.mutation import Mutation

ACCEPTING: Final = "api/resources/accepting.py"
CATCHING_UP: Final = "projections/catching_up.py"
COMMAND_LOG: Final = "api/command_log.py"
CONNECTIONS: Final = "projections/queries/connections.py"
EVENT_READER: Final = "projections/event_reader.py"
FOLD: Final = "projections/fold.py"
IDEMPOTENCY: Final = "api/resources/idempotency.py"
INSTANCES: Final = "api/resources/instances.py"
INSTANCE_EVENTS: Final = "api/resources/instance_events.py"
LEASES: Final = "projections/queries/leases.py"
LOADER: Final = "projections/queries/loader.py"
LOST_POSITIONS: Final = "projections/publisher/lost_positions.py"
MEMORY: Final = "projections/memory.py"
PAGES: Final = "api/resources/pages.py"
PARTITION_PUBLISHER: Final = "projections/publisher/partition_publisher.py"
POSITIONS: Final = "projections/queries/positions.py"
PROCESS: Final = "projections/process.py"
PROJECTOR: Final = "projections/projector.py"
PUBLIC_WRITER: Final = "projections/publisher/public_writer.py"
PUBLISHED: Final = "projections/publisher/positions.py"
READ_MODEL: Final = "projections/queries/read_model.py"
ROUTING: Final = "api/routing.py"
SHARING: Final = "projections/queries/sharing.py"
STICKY: Final = "api/sticky_partitioner.py"
WORKFLOWS: Final = "api/resources/workflows.py"

MUTATIONS: Final = (
    Mutation(
        "read model takes in what does not count",
        EVENT_READER,
        "                    if not epochs.admits(record):\n                        continue\n",
        "                    epochs.admits(record)\n",
        "What an engine writes that has lost its partition is shown: an instance has two pasts.",
    ),
    Mutation(
        "outcomes cut apart",
        EVENT_READER,
        "            while end < len(some) and _cause(some[end]) == _cause(some[end - 1]) >= 0:\n",
        "            while False:\n",
        "An abort is answered, and the instance is shown as it goes on.",
    ),
    Mutation(
        "causes not told",
        EVENT_READER,
        "                cause = max(cause, _cause(record))\n",
        "                pass\n",
        "Every POST is answered 503, though it is carried out.",
    ),
    Mutation(
        "conflict ignored",
        PROCESS,
        "                await self._give_way(member, fitting)\n",
        "                pass\n",
        "What another projector has written is taken for records that are missing: the partition stands still, and "
        "operators are called.",
    ),
    Mutation(
        "position not taken over",
        PROJECTOR,
        "        self.positions.update(reading.positions)\n        if reading.left:\n",
        "        if reading.left:\n",
        "Every second batch is dropped.",
        without_effect="The next batch meets a conflict, and the positions are loaded again: it costs time alone.",
    ),
    Mutation(
        "ends from before a crash",
        CATCHING_UP,
        "        self._ends, self._missing, self._ask_at = {}, set(), 0.0\n",
        "        self._missing, self._ask_at = set(), 0.0\n",
        "After a crash of Postgres, what was shown before it is unknown for a while.",
    ),
    Mutation(
        "reads after a crash do not wait",
        READ_MODEL,
        "statement_timeout_seconds=DEADLINE_SECONDS, admit=wait_caught_up)",
        "statement_timeout_seconds=DEADLINE_SECONDS)",
        "After a crash of Postgres, a payment that was shown is answered 404, and is made again.",
    ),
    Mutation(
        "lists after a crash do not wait",
        CONNECTIONS,
        "                admit=wait_caught_up,\n",
        "",
        "After a crash of Postgres, a list lacks payments that it has shown.",
    ),
    Mutation(
        "rejections deleted by the time of their events alone",
        MEMORY,
        "if row.at < oldest and stored[key] < oldest]",
        "if row.at < oldest]",
        "With an engine whose clock is a day behind, an event that was refused is answered as taken.",
    ),
    Mutation(
        "a look-up in flight joined",
        LOADER,
        "                if len(self._gathered) <= MAX_KEYS:\n"
        "                    taken, self._gathered = self._gathered, {}\n"
        "                else:\n"
        "                    taken = {key: self._gathered.pop(key) for key in list(self._gathered)[:MAX_KEYS]}\n"
        "                await self._query(taken)\n",
        "                taken = self._gathered\n"
        "                await self._query(taken)\n"
        "                self._gathered.clear()\n",
        "Who has run a workflow, and looks at once, is answered 404.",
    ),
    Mutation(
        "a list in flight joined",
        SHARING,
        "                return await read()  # for nobody else\n",
        "                reads.next = asyncio.get_running_loop().create_future(), read\n"
        "                value = await read()\n"
        "                reads.next[0].set_result(value)\n"
        "                reads.next = None\n"
        "                return value\n",
        "Who has run a workflow, and looks at a list that others look at, does not see it.",
    ),
    Mutation(
        "end of an activity without its error",
        FOLD,
        "        activity.attempt = event.attempt + 1\n",
        "        activity.attempt = event.attempt\n",
        "The history shows the attempt that has failed as the one that comes next.",
    ),
    Mutation(
        "changes of one batch only",
        FOLD,
        "            instance.updated_at = at\n",
        "            pass\n",
        "An instance is shown as older than it is, depending on how events were written.",
    ),
    Mutation(
        "error of an end forgotten",
        FOLD,
        "        instance.error = _text(event.error)\n",
        "        instance.error = None\n",
        "A payment that has failed is shown as done.",
    ),
    Mutation(
        "positions not polled",
        POSITIONS,
        "                await self._reload()\n",
        "                pass\n",
        "A POST whose notification got lost is answered 503, though it is carried out.",
    ),
    Mutation(
        "ends not polled",
        POSITIONS,
        "                if self._ends:\n",
        "                if False:\n",
        "Who waits for the end of an instance waits for the whole time, when its notification got lost.",
    ),
    Mutation(
        "woken too early",
        POSITIONS,
        "        while self._heap and self._heap[0].cause <= self.cause:\n",
        "        while self._heap:\n",
        "A POST is answered when the outcome of another one shows: what it makes is said to be missing.",
    ),
    Mutation(
        "answered before the projection",
        ACCEPTING,
        "        await services.positions.wait_cause(position.partition, position.offset, deadline)\n",
        '        if type(command).__name__ != "SendEvent":\n'
        "            await services.positions.wait_cause(position.partition, position.offset, deadline)\n",
        "An event is answered as taken before it is, or is refused.",
    ),
    Mutation(
        "rejection ignored",
        ACCEPTING,
        "    if rejection is not None:\n",
        "    if False:\n",
        "An event that an instance refuses is answered as taken.",
    ),
    Mutation(
        "offset unknown",
        COMMAND_LOG,
        "        if offset < 0:\n",
        "        if False:\n",
        "When Kafka does not say where a command stands, all commands of its partition are refused for half a minute.",
    ),
    Mutation(
        "answered at an unknown offset",
        COMMAND_LOG,
        '            raise CommandLogUnavailable(f"Kafka accepted the request, but did not say where: {REPEAT}")\n',
        "            return CommandPosition(partition, offset)\n",
        "A POST is answered before it is carried out, when Kafka does not say where it stands.",
    ),
    Mutation(
        "idempotency key ignored",
        INSTANCES,
        "    if keyed is None:\n",
        "    if True:\n",
        "A run that is sent again with its key pays twice.",
    ),
    Mutation(
        "another body taken for the same",
        IDEMPOTENCY,
        "        if digest != self.digest:\n",
        "        if False:\n",
        "A payment with a key that was used for another one is answered as done, and is not.",
    ),
    Mutation(
        "key of an event not looked up",
        INSTANCE_EVENTS,
        "    if looked.sent:\n        return\n    if row.terminated_at",
        "    if False:\n        return\n    if row.terminated_at",
        "An event that is sent again is refused, when it has ended its instance.",
    ),
    Mutation(
        "lease ignored",
        WORKFLOWS,
        "    await asyncio.sleep(LEASE_SECONDS)\n",
        "    pass\n",
        "A workflow is run after its deletion was answered.",
    ),
    Mutation(
        "leases too long",
        LEASES,
        "_Lease(now + LEASE_SECONDS, value)",
        "_Lease(now + 10 * LEASE_SECONDS, value)",
        "A workflow is run after its deletion was answered.",
    ),
    Mutation(
        "requests stay admitted",
        ROUTING,
        "                admission.leave()\n",
        "                pass\n",
        "After some thousand requests, every one is answered 503.",
    ),
    Mutation(
        "next page from its first row",
        PAGES,
        "            first, last = found.rows[0].position, found.reached or found.rows[-1].position\n",
        "            first, last = found.rows[0].position, found.reached or found.rows[0].position\n",
        "Pages of a list show things twice.",
    ),
    Mutation(
        "position of what is published left out",
        PUBLIC_WRITER,
        "                self._published: [position_record(self._published.partition, position, now_ms)],\n",
        "                self._published: [],\n",
        "Public events are published again when a publisher comes back.",
    ),
    Mutation(
        "position before its transaction is settled",
        PUBLIC_WRITER,
        "                await self._transactions.open()\n"
        "                for place in (self._public, self._published):\n"
        "                    await self._check(place)\n"
        "                return await last_position(self._kafka, self._published)\n",
        "                position = await last_position(self._kafka, self._published)\n"
        "                await self._transactions.open()\n"
        "                for place in (self._public, self._published):\n"
        "                    await self._check(place)\n"
        "                return position\n",
        "Public events are published twice when a partition goes to another publisher.",
    ),
    Mutation(
        "position of an aborted transaction",
        PUBLISHED,
        "    async with kafka.reader(committed_only=True) as reader:\n",
        "    async with kafka.reader() as reader:\n",
        "Public events are never published whose transaction was aborted.",
    ),
    Mutation(
        "publisher takes in what does not count",
        PARTITION_PUBLISHER,
        "                if not epochs.admits(record):\n                    continue\n",
        "                epochs.admits(record)\n",
        "What an engine writes that has lost its partition is published.",
    ),
    Mutation(
        "first transaction taken for a loss",
        LOST_POSITIONS,
        "    if events.oldest > 0 or await last_published(kafka, public) >= 0:\n",
        "    if positions.end == 0 or events.oldest > 0 or await last_published(kafka, public) >= 0:\n",
        "A partition is never published whose first publisher was killed at a bad moment.",
    ),
    Mutation(
        "published in the wrong order",
        PUBLIC_WRITER,
        "[NewRecord(event.key, event.value, [], now_ms) for event in events]",
        "[NewRecord(event.key, event.value, [], now_ms) for event in events][::-1]",
        "Consumers read the end of an instance before its start.",
    ),
    Mutation(
        "an instance started in the partition of others",
        STICKY,
        "                return Place(UUID(key.decode()), partition)\n",
        "                return Place(id, partition)\n",
        "A run is sent where its id does not belong: no engine takes it.",
    ),
)
