"""Brokers, topics and their settings, rights, groups."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deploy.doctor.findings import Finding, ok, or_ok, warning, wrong
from schemas.kafka.inspection import BrokerFacts, ClusterFacts, GroupFacts, TopicFacts
from schemas.settings import variable
from schemas.topics import MIN_REPLICAS_TO_SPARE_ONE, Topic

SPARING: Final = 2
"""Replicas that must acknowledge a write, so that none is lost with one broker."""
RIGHTS: Final = ("Describe", "Read", "Write")
INTERNAL_REPLICAS: Final = {
    "offsets.topic.replication.factor": "consumer groups stop",
    "transaction.state.log.replication.factor": "the publisher and snapshots stop",
}
"""Settings of brokers for Kafka's own topics, and what happens while the only broker is away that has one."""
DENIED: Final = "Authorization"
"""In the name of each error that says that a right is missing."""
HARM: Final = {"message.timestamp.type": "commands of a sender whose clock is behind expire early"}
"""What comes of a setting that is not as we wish, where that is not a slower start."""
CREATE: Final = "run `orchestration topics create`"


def brokers(found: Sequence[BrokerFacts]) -> Iterator[Finding]:
    """Whether all brokers answer, and what they keep of Kafka's own topics."""
    silent = [broker for broker in found if broker.error is not None]
    for broker in silent:
        yield wrong(f"broker {broker.address}", f"does not answer: {broker.error}", "look at its log and the network")
    if not silent:
        yield ok("brokers", f"all {len(found)} answer: {', '.join(broker.address for broker in found)}")
    if any(broker.config.get("auto.create.topics.enable") == "true" for broker in found):
        text = "auto.create.topics.enable is true: a topic that is deleted may come back with too few partitions"
        yield warning("brokers", text, "set it to false")
    for name, effect in INTERNAL_REPLICAS.items():
        replicas = min((int(broker.config[name]) for broker in found if name in broker.config), default=None)
        if replicas is not None and replicas < min(len(found), MIN_REPLICAS_TO_SPARE_ONE):
            text = f"{name} is {replicas}, so {effect} while one broker is away"
            yield warning("brokers", text, f"set it to {MIN_REPLICAS_TO_SPARE_ONE}, and reassign the topic that exists")


def topics(wanted: Sequence[Topic], facts: ClusterFacts) -> Iterator[Finding]:
    """Whether all topics exist, with the right shape and settings, and are whole."""
    single = [name for name in facts.topics if min(_replica_counts(facts.topics[name]), default=0) == 1]
    if lonely := [topic.name for topic in wanted if topic.name in single]:
        text = "one replica each, so what is on its disk is lost with the disk"
        remedy = f"use three brokers, and {MIN_REPLICAS_TO_SPARE_ONE} replicas of each topic"
        yield warning(f"topics {', '.join(lonely)}", text, remedy)
    for topic in wanted:
        about, found = f"topic {topic.name}", facts.topics[topic.name]
        if not found.exists:
            yield wrong(about, "does not exist", CREATE)
            continue
        if found.error is not None:
            yield _unseen(about, found.error, "give this user the rights of docs/operations.md")
            continue
        findings = [
            *_shape(about, topic, found),
            *_replicas(about, found, len(facts.brokers)),
            *_config(about, topic, found.config),
            *_rights(about, found),
        ]
        replicas = min(_replica_counts(found))
        yield from or_ok(
            findings, about, f"{len(found.partitions)} partitions, {replicas} replicas, settings as needed"
        )


def listened(names: Sequence[str], facts: ClusterFacts) -> Iterator[Finding]:
    """Whether the topics of others that fire triggers can be read."""
    for name in names:
        about, found = f"trigger topic {name}", facts.topics[name]
        if not found.exists:
            remedy = f"create it, or take it off {variable('trigger_topics')}"
            yield warning(about, "does not exist, so its triggers never fire", remedy)
        elif found.error is not None:
            yield _unseen(about, found.error, "give this user the rights Read and Describe on it")
        else:
            yield from or_ok(list(_rights(about, found, ("Describe", "Read"))), about, "can be read")


def groups(found: Mapping[str, GroupFacts], processes: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the groups have members, and stand still.

    Args:
        found: by name.
        processes: by name of a group, the command whose processes are its members.
    """
    for name, group in found.items():
        about = f"group {name}"
        if group.error is not None:
            yield _unseen(about, group.error, "give this user the right Read on it")
        elif not group.members:
            command = processes[name]
            yield warning(about, "has no members", f"start `orchestration {command}`, unless it is meant to be down")
        elif group.state != "Stable":
            remedy = (
                "look again in some seconds; if it stays so, processes lose their place in the group: see their logs"
            )
            yield warning(about, f"is being shared out again ({group.state})", remedy)
        else:
            yield ok(about, f"{group.members} members, stable")


def transactions(found: Mapping[str, str | None]) -> Iterator[Finding]:
    """Whether transactions of our ids may be used. To describe one is the right that shows without opening one."""
    for name, error in found.items():
        about = f"transactional ids {name}…"
        if error is None:
            yield ok(about, "may be used")
        else:
            yield wrong(
                about, f"can't be used: {error}", _remedy(error, "give this user the rights Describe and Write on them")
            )


def _unseen(about: str, error: str, rights: str) -> Finding:
    return wrong(about, f"can't be looked at: {error}", _remedy(error, rights))


def _remedy(error: str, rights: str) -> str:
    """What to do about an error of Kafka: only some are about rights."""
    return rights if DENIED in error else "look again in some seconds; if it stays so, look at the logs of the brokers"


def _shape(about: str, topic: Topic, found: TopicFacts) -> Iterator[Finding]:
    count = len(found.partitions)
    if count > topic.partitions:
        remedy = f"set {variable('partitions')} if it was made so; else see *Partitions that were added* in the docs"
        yield warning(about, f"has {count} partitions, of which the installation uses {topic.partitions}", remedy)
    elif count < topic.partitions:
        remedy = (
            f"set {variable('partitions')} to {count} if all were made so, or use another {variable('topic_prefix')};"
            f" if Kafka made this one by itself, delete it, {CREATE} and `orchestration topics repair`"
        )
        yield wrong(about, f"has {count} partitions, not {topic.partitions}", remedy)
    if lost := [partition.partition for partition in found.partitions if partition.leader < 0]:
        yield wrong(about, f"partitions without a leader: {_numbers(lost)}", "start the brokers that have them")
    elif behind := [partition.partition for partition in found.partitions if partition.in_sync < partition.replicas]:
        text = f"partitions with replicas that are behind: {_numbers(behind)}"
        yield warning(about, text, "look at the brokers that have them")


def _replicas(about: str, found: TopicFacts, brokers: int) -> Iterator[Finding]:
    replicas = min(_replica_counts(found))
    if replicas > 1 and found.config:
        yield from _in_sync(about, replicas, int(found.config.get("min.insync.replicas", "1")))
    if 1 < replicas < MIN_REPLICAS_TO_SPARE_ONE <= brokers:
        yield warning(about, f"has {replicas} replicas", f"use {MIN_REPLICAS_TO_SPARE_ONE}")
    if found.config.get("unclean.leader.election.enable") == "true":
        text = "unclean.leader.election.enable is true: Kafka may lose what it has acknowledged"
        yield wrong(about, text, "set it to false")


def _replica_counts(found: TopicFacts) -> list[int]:
    return [partition.replicas for partition in found.partitions]


def _in_sync(about: str, replicas: int, needed: int) -> Iterator[Finding]:
    if needed > replicas:
        text = f"min.insync.replicas is {needed}, but it has {replicas} replicas, so nothing can be written"
        yield wrong(about, text, f"set min.insync.replicas to {max(1, replicas - 1)}")
    elif needed == replicas:
        text = f"min.insync.replicas is {needed} of {replicas} replicas, so nothing can be written while one is away"
        yield warning(about, text, f"set it to {replicas - 1}")
    elif needed < SPARING:
        text = f"min.insync.replicas is {needed}: what only one broker has is lost with it"
        yield warning(about, text, f"set it to {SPARING}")


def _config(about: str, topic: Topic, config: Mapping[str, str]) -> Iterator[Finding]:
    if not config:
        yield warning(
            about, "its settings can't be seen", "give this user the right DescribeConfigs to have them checked"
        )
        return
    for name, value in topic.config.items():
        if not _fits(name, value, config.get(name, "")):
            yield wrong(
                about, f"{name} is {config.get(name)}, not {value}", "change it in Kafka (see docs/operations.md)"
            )
    for name, value in topic.wishes.items():
        if name != "min.insync.replicas" and config.get(name) != value:
            text = f"{name} is {config.get(name)}, not {value}, so {HARM.get(name, 'more is read at a start')}"
            yield warning(about, text, "change it, if this Kafka allows it")
    if config.get("compression.type", "producer") not in ("producer", "uncompressed"):
        text = f"compression.type is {config['compression.type']}, so brokers compress each batch again"
        yield warning(about, text, "set it to producer")


def _fits(name: str, wanted: str, found: str) -> bool:
    if name == "cleanup.policy":
        return found == wanted
    try:
        is_, needed = float(found), float(wanted)
    except ValueError:
        return found == wanted
    # -1 is without a limit; more than is needed does no harm.
    return is_ == -1 or (needed != -1 and is_ >= needed)


def _rights(about: str, found: TopicFacts, needed: Sequence[str] = RIGHTS) -> Iterator[Finding]:
    if found.operations is not None and (missing := [right for right in needed if right not in found.operations]):
        yield wrong(about, f"this user lacks the right {' and '.join(missing)}", "add it to Kafka's ACLs")


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
