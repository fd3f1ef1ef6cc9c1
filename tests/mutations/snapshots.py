"""Snapshots: a restore from one comes to what the whole log says, or does not use it."""

from typing import Final

from tests.mutations.mutation import Mutation

DEFINITION: Final = "engine/core/definition.py"
KNOWN: Final = "engine/known_snapshots.py"
PARTITION: Final = "engine/partition.py"
RECORDS: Final = "engine/snapshot_records.py"
RESTORE: Final = "engine/restore.py"
ROUNDS: Final = "engine/snapshot_rounds.py"
SECTIONS: Final = "engine/core/sections.py"
STATE: Final = "engine/core/state.py"
SNAPSHOTS: Final = "engine/core/snapshots.py"

WRITE: Final = """\
        for records in slices(chain(tombstones(stale, marker.at), entry_records(cut.entries(), marker.at))):
            count += len(records)
            size += await self._append(writer, records)
        last = marker_record(marker)
        await self._append(writer, [last])
        self._known.commits(marker)
        await writer.commit()
"""
MARKER_FIRST: Final = """\
        last = marker_record(marker)
        await self._append(writer, [last])
        self._known.commits(marker)
        await writer.commit()
        for records in slices(chain(tombstones(stale, marker.at), entry_records(cut.entries(), marker.at))):
            count += len(records)
            size += await self._append(writer, records)
        await writer.commit()
"""

MUTATIONS: Final = (
    Mutation(
        "marker before its data",
        ROUNDS,
        WRITE,
        MARKER_FIRST,
        "An engine that crashes between the two leaves a snapshot that lacks instances: they are never heard of again.",
    ),
    Mutation(
        "tombstones forgotten",
        SECTIONS,
        "            changed[id] = True\n            if",
        "            pass\n            if",
        "An instance that has ended comes back with the next owner, and pays again.",
    ),
    Mutation(
        "tombstones of full snapshots forgotten",
        ROUNDS,
        "chain(tombstones(stale, marker.at), entry_records(cut.entries(), marker.at))",
        "entry_records(cut.entries(), marker.at)",
        "After a topic that could not be read, no snapshot can be used any more.",
    ),
    Mutation(
        "tail from one too late",
        RESTORE,
        "            start, next_command, claimed = marker.next_offset, ",
        "            start, next_command, claimed = marker.next_offset + 1, ",
        "The first event behind a snapshot is lost: its call is made again.",
    ),
    Mutation(
        "commands of a snapshot decided again",
        RESTORE,
        "            start, next_command, claimed = marker.next_offset, marker.next_command, ",
        "            start, next_command, claimed = marker.next_offset, 0, ",
        "All commands that are still kept are decided a second time.",
    ),
    Mutation(
        "stale owner not fenced",
        PARTITION,
        "        fenced = await self._rounds.open()\n",
        "        fenced = True\n",
        "An owner that was superseded replaces newer states by older ones, behind the back of the new owner.",
    ),
    Mutation(
        "base known though nobody was shut out",
        PARTITION,
        "            marker=restored.marker if fenced else None,\n",
        "            marker=restored.marker,\n",
        "As above, when the broker does not answer in time.",
    ),
    Mutation(
        "cut without a proof",
        ROUNDS,
        "        if proven_at < self._opened_at:\n",
        "        if False:\n",
        "An owner that was superseded shuts the new one's writer out, and replaces its states by older ones.",
    ),
    Mutation(
        "version ignored",
        RECORDS,
        "        if schema not in READABLE:\n",
        "        if False:\n",
        "A build takes what another one has written for its own states.",
    ),
    Mutation(
        "copy on write forgotten",
        SECTIONS,
        "            changed[id] = before is not None\n"
        "            if self._before is not None:\n"
        "                self._before[id] = before\n",
        "            changed[id] = before is not None\n",
        "A snapshot has a state from behind its offset, and the event that made it is replayed on it once more.",
    ),
    Mutation(
        "what ends while a snapshot is written left out",
        SECTIONS,
        "            changed[id] = True\n"
        "            if self._before is not None:\n"
        "                self._before[id] = before\n",
        "            changed[id] = True\n",
        "A snapshot lacks an instance that ended behind its offset: its last event can't be replayed.",
    ),
    Mutation(
        "definition gone while it is used",
        DEFINITION,
        "            self._users[digest] = users\n            return\n",
        "            self._users[digest] = 0\n",
        "When one instance of a workflow ends, the others can't go on.",
    ),
    Mutation(
        "count not checked",
        SNAPSHOTS,
        "        if count != summary.entries:\n",
        "        if False:\n",
        "A snapshot that has lost its oldest records is used: instances are never heard of again.",
    ),
    Mutation(
        "base known after an unknown commit",
        ROUNDS,
        "            point.cut.close(written=written)\n",
        "            point.cut.close(written=True)\n",
        "What one snapshot could not write is in none of the next ones.",
    ),
    Mutation(
        "lost records of snapshots not noticed",
        KNOWN,
        "        if base < known:\n",
        "        if False:\n",
        "Old states that a broker came back with pass for new ones.",
    ),
    Mutation(
        "lost records of snapshots not noticed behind a round that has failed",
        KNOWN,
        "        if record is None or found is None or found not in (self._last, self._tried):\n",
        "        if record is None or found is None:\n",
        "What is added to old states passes for the state, if nobody knows where the first of it is.",
    ),
    Mutation(
        "what is set aside forgotten",
        STATE,
        "            self._aside,\n",
        "",
        "After the next restore, an instance whose events can't be used goes on from somewhere.",
    ),
)
