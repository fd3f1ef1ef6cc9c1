"""What `orchestration doctor` says about what it finds."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
import pytest
from msgspec.structs import replace

from deploy.doctor import examination, fitting, kafka, postgres, progress, stack
from deploy.doctor.findings import Finding, ok, or_ok, warning, worst, wrong
from deploy.doctor.fitting import AllSettings
from deploy.doctor.postgres import Growing, PostgresFacts
from projections.migrate import shipped
from projections.rows import ReadPosition
from schemas.kafka import KafkaUnreachable, Limits, NewTopic, Place
from schemas.kafka.inspection import BrokerFacts, ClusterFacts, GroupFacts, PartitionFacts, TopicFacts
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.settings import (
    ApiSettings,
    EngineSettings,
    KafkaSettings,
    ProjectionsSettings,
    SettingsError,
    StackSettings,
)
from schemas.stack.errors import NoAnswer, NoToken
from schemas.topics import Topic, topics

ENGINE: Final = EngineSettings(partitions=2, replication_factor=3)
GIVEN: Final = AllSettings(
    ApiSettings(auth_enabled=True, auth_issuer="https://id", auth_audience="pay"), ENGINE, ProjectionsSettings()
)
ALL: Final = frozenset({"Describe", "Read", "Write"})
BROKER_CONFIG: Final = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
}
EVENTS: Final = next(topic for topic in topics(ENGINE) if topic.name == "events")
GROWING: Final = Growing(oldest_id=200_000_000, open_seconds=60.0, unread_wal={"standby": 1_000_000})


def topic(made: Topic, **changes: Any) -> TopicFacts:
    """A topic as `topics create` makes it, on three brokers."""
    config = {**made.config, **made.wishes, "unclean.leader.election.enable": "false", **changes.pop("config", {})}
    facts = {
        "partitions": [PartitionFacts(number, 1, 3, 3) for number in range(made.partitions)],
        "config": config,
        "operations": ALL,
    }
    return TopicFacts(**{**facts, **changes})


def cluster(**changes: Any) -> ClusterFacts:
    """A cluster where all is well."""
    facts = ClusterFacts(
        [BrokerFacts(f"kafka-{n}:9092", None, BROKER_CONFIG) for n in range(3)],
        {made.name: topic(made) for made in topics(ENGINE)},
        {name: GroupFacts(None, "Stable", 2) for name in examination.GROUPS},
        {"orchestration-publisher-": None, "orchestration-snapshots-": None},
    )
    return replace(facts, **changes)


def database(**changes: Any) -> PostgresFacts:
    """A database where all is well."""
    facts = PostgresFacts(
        version=18,
        user="app",
        clock_offset_seconds=0.01,
        standby=False,
        read_only=False,
        fsync=True,
        encoding="UTF8",
        limits={"lock_timeout": 60_000},
        free_connections=50,
        may_create=True,
        schema_exists=True,
        lacking=[],
        applied={name: hashlib.sha256(text).hexdigest() for name, text in shipped().items()},
        positions={0: ReadPosition(0), 1: ReadPosition(0)},
        readable=True,
        growing=GROWING,
        no_room=None,
    )
    return replace(facts, **changes)


def bad(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Level and text of what is not ok."""
    return [(finding.level, finding.text) for finding in findings if finding.level != "ok"]


def test_a_line_says_what_was_found_and_what_to_do() -> None:
    assert ok("topic x", "is fine").line() == "ok       topic x: is fine"
    assert warning("a", "b\n", "c").line() == "warning  a: b\\n → c"
    assert wrong("a", "postgresql://me:secret@h/d", "c").line() == "wrong    a: postgresql://…@h/d → c"
    assert [worst(some) for some in ([], [ok("", "")], [wrong("", "", ""), warning("", "", ""), ok("", "")])] == [
        "ok",
        "ok",
        "wrong",
    ]
    assert or_ok([], "a", "b") == [ok("a", "b")]


def test_a_cluster_where_all_is_well() -> None:
    facts = cluster()
    groups = kafka.groups(facts.groups, examination.GROUPS)
    for findings in (
        kafka.brokers(facts.brokers),
        kafka.topics(topics(ENGINE), facts),
        groups,
        kafka.transactions(facts.transactions),
        fitting.settings(GIVEN, facts.brokers),
        postgres.server(database()),
        postgres.schema("orchestration", database(), shipped()),
    ):
        some = list(findings)
        assert some
        assert bad(some) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exists": False}, ("wrong", "does not exist")),
        ({"error": "TopicAuthorizationFailed"}, ("wrong", "can't be looked at: TopicAuthorizationFailed")),
        ({"partitions": [PartitionFacts(0, 1, 3, 3)]}, ("wrong", "has 1 partitions, not 2")),
        (
            {"partitions": [PartitionFacts(n, 1, 3, 3) for n in range(3)]},
            ("warning", "has 3 partitions, of which the installation uses 2"),
        ),
        (
            {"partitions": [PartitionFacts(0, 1, 3, 3), PartitionFacts(1, -1, 3, 0)]},
            ("wrong", "partitions without a leader: 1"),
        ),
        (
            {"partitions": [PartitionFacts(0, 1, 3, 2), PartitionFacts(1, 1, 3, 2)]},
            ("warning", "partitions with replicas that are behind: 0, 1"),
        ),
        (
            {"partitions": [PartitionFacts(n, 1, 1, 1) for n in (0, 1)]},
            ("warning", "one replica each, so what is on its disk is lost with the disk"),
        ),
        (
            {"config": {"min.insync.replicas": "1"}},
            ("warning", "min.insync.replicas is 1: what only one broker has is lost with it"),
        ),
        (
            {"config": {"min.insync.replicas": "3"}},
            ("warning", "min.insync.replicas is 3 of 3 replicas, so nothing can be written while one is away"),
        ),
        (
            {"config": {"min.insync.replicas": "4"}},
            ("wrong", "min.insync.replicas is 4, but it has 3 replicas, so nothing can be written"),
        ),
        (
            {"config": {"unclean.leader.election.enable": "true"}},
            ("wrong", "unclean.leader.election.enable is true: Kafka may lose what it has acknowledged"),
        ),
        ({"config": {"retention.ms": "604800000"}}, ("wrong", "retention.ms is 604800000, not -1")),
        ({"config": {"cleanup.policy": "compact"}}, ("wrong", "cleanup.policy is compact, not delete")),
        ({"config": {"max.message.bytes": "1048588"}}, ("wrong", "max.message.bytes is 1048588, not 8388608")),
        (
            {"config": {"compression.type": "gzip"}},
            ("warning", "compression.type is gzip, so brokers compress each batch again"),
        ),
        ({"operations": frozenset({"Describe"})}, ("wrong", "this user lacks the right Read and Write")),
    ],
)
def test_what_can_be_wrong_with_a_topic(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    facts = cluster()
    found = kafka.topics([EVENTS], replace(facts, topics={"events": topic(EVENTS, **changes)}))
    assert bad(found) == [expected]


def test_a_topic_may_have_more_than_it_needs() -> None:
    more = topic(EVENTS, config={"max.message.bytes": "16777216"}, operations=None)
    assert bad(kafka.topics([EVENTS], replace(cluster(), topics={"events": more}))) == []
    commands = next(made for made in topics(ENGINE) if made.name == "commands")
    for kept, level in (("-1", "ok"), ("9000000000", "ok"), ("1000", "wrong")):
        facts = replace(cluster(), topics={"commands": topic(commands, config={"retention.ms": kept})})
        assert worst(kafka.topics([commands], facts)) == level
    hidden = replace(topic(EVENTS), config={})
    facts = replace(cluster(), topics={"events": hidden})
    assert bad(kafka.topics([EVENTS], facts)) == [("warning", "its settings can't be seen")]


def test_what_is_only_wished_for_is_a_warning() -> None:
    snapshots = next(made for made in topics(ENGINE) if made.name == "snapshots")
    facts = replace(cluster(), topics={"snapshots": topic(snapshots, config={"segment.bytes": "1073741824"})})
    assert bad(kafka.topics([snapshots], facts)) == [
        ("warning", "segment.bytes is 1073741824, not 16777216, so more is read at a start")
    ]


def test_commands_that_may_expire_early_are_told() -> None:
    commands = next(made for made in topics(ENGINE) if made.name == "commands")
    facts = replace(cluster(), topics={"commands": topic(commands, config={"message.timestamp.type": "CreateTime"})})
    assert bad(kafka.topics([commands], facts)) == [
        (
            "warning",
            "message.timestamp.type is CreateTime, not LogAppendTime, so commands of a sender whose clock is behind"
            " expire early",
        )
    ]


def test_brokers_groups_and_rights() -> None:
    few = {**BROKER_CONFIG, "offsets.topic.replication.factor": "1", "auto.create.topics.enable": "true"}
    brokers = [
        BrokerFacts("a:1", None, few),
        BrokerFacts("b:1", "no answer within 5 s", {}),
        BrokerFacts("c:1", None, {}),
    ]
    assert bad(kafka.brokers(brokers)) == [
        ("wrong", "does not answer: no answer within 5 s"),
        ("warning", "auto.create.topics.enable is true: a topic that is deleted may come back with too few partitions"),
        ("warning", "offsets.topic.replication.factor is 1, so consumer groups stop while one broker is away"),
    ]
    groups = {
        "orchestration-engine": GroupFacts(None, "Empty", 0),
        "orchestration-projections": GroupFacts(None, "PreparingRebalance", 2),
        "orchestration-publisher": GroupFacts("GroupAuthorizationFailed"),
    }
    assert bad(kafka.groups(groups, examination.GROUPS)) == [
        ("warning", "has no members"),
        ("warning", "is being shared out again (PreparingRebalance)"),
        ("wrong", "can't be looked at: GroupAuthorizationFailed"),
    ]
    assert bad(kafka.transactions({"x-": "TransactionalIdAuthorizationFailed"})) == [
        ("wrong", "can't be used: TransactionalIdAuthorizationFailed")
    ]
    facts = replace(
        cluster(),
        topics={
            "a": TopicFacts(exists=False),
            "b": TopicFacts("TopicAuthorizationFailed"),
            "c": TopicFacts(operations=frozenset({"Describe"})),
            "d": TopicFacts(operations=frozenset({"Describe", "Read"})),
        },
    )
    assert bad(kafka.listened("abcd", facts)) == [
        ("warning", "does not exist, so its triggers never fire"),
        ("wrong", "can't be looked at: TopicAuthorizationFailed"),
        ("wrong", "this user lacks the right Read"),
    ]


def test_only_what_is_denied_needs_rights() -> None:
    groups = {
        "orchestration-engine": GroupFacts("GroupAuthorizationFailed"),
        "orchestration-publisher": GroupFacts("X"),
    }
    topics = {"a": TopicFacts("TopicAuthorizationFailed"), "b": TopicFacts("LeaderNotAvailable")}
    found = [*kafka.groups(groups, examination.GROUPS), *kafka.listened("ab", replace(cluster(), topics=topics))]
    found += kafka.transactions({"x-": "TransactionalIdAuthorizationFailed", "y-": "no answer within 5 s"})
    assert ["right" in finding.remedy for finding in found] == [True, False, True, False, True, False]
    assert found[1].remedy == "look again in some seconds; if it stays so, look at the logs of the brokers"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"standby": True}, ("wrong", "is a standby, which can only be read")),
        ({"standby": True, "read_only": True}, ("wrong", "is a standby, which can only be read")),
        ({"read_only": True}, ("wrong", "lets nobody write: default_transaction_read_only is on")),
        ({"version": 11}, ("wrong", "is version 11")),
        ({"fsync": False}, ("warning", "fsync is off: a crash can damage the database")),
        (
            {"encoding": "LATIN1"},
            ("wrong", "the database's encoding is LATIN1: events with characters that it lacks are left out"),
        ),
        (
            {"no_room": "No space left on device"},
            ("wrong", "can't write 1 MB beside its tables: No space left on device"),
        ),
        (
            {"growing": GROWING._replace(unread_wal={"a": 0, "b": 3 * 1024**3})},
            ("warning", "keeps 3.0 GB of its log for slot b, which nobody reads: that fills the disk"),
        ),
        (
            {"growing": GROWING._replace(open_seconds=5400.0)},
            ("warning", "a transaction has been open for 1.5 hours, so dead rows stay and pile up"),
        ),
        (
            {"growing": GROWING._replace(oldest_id=1_500_000_000)},
            (
                "warning",
                "1,500 million transactions have begun since the oldest that rows name;"
                " at 2,147 million nothing can be written",
            ),
        ),
        ({"free_connections": 3}, ("warning", "3 connections are free")),
        ({"limits": {"lock_timeout": 500}}, ("warning", "lock_timeout is 500 ms: our transactions are ended by it")),
        (
            {"limits": {"idle_session_timeout": 60_000}},
            ("warning", "idle_session_timeout is 60000 ms: our connections that wait for news are ended by it"),
        ),
        (
            {"clock_offset_seconds": -1.5},
            ("warning", "the clock of Postgres is 1.50 s behind the clock of this machine"),
        ),
        (
            {"clock_offset_seconds": 3600.0},
            ("wrong", "the clock of Postgres is 3600.00 s ahead of the clock of this machine"),
        ),
        ({"schema_exists": False, "applied": {}}, ("wrong", "has no read model")),
        ({"applied": {}, "lacking": ["USAGE on the schema"]}, ("wrong", "user app lacks USAGE on the schema")),
        ({"applied": {}, "lacking": ["SELECT on migrations"]}, ("wrong", "user app lacks SELECT on migrations")),
        (
            {"applied": {**database().applied, "9999_x.sql": ""}},
            ("wrong", "has 9999_x.sql, which this build does not know"),
        ),
        (
            {"applied": {**database().applied, "0001_read_model.sql": "0"}},
            ("wrong", "0001_read_model.sql differ from what was applied"),
        ),
        (
            {"applied": {name: text for name, text in database().applied.items() if name != "0002_triggers.sql"}},
            ("wrong", "lacks 0002_triggers.sql"),
        ),
        ({"lacking": ["INSERT on stages"]}, ("wrong", "user app lacks INSERT on stages")),
        (
            {"may_create": False},
            ("warning", "user app may not create schemas, so `migrate` and `rebuild` fail"),
        ),
        (
            {"readable": False},
            ("warning", "reads wait: the projections have not caught up since Postgres started"),
        ),
    ],
)
def test_what_can_be_wrong_with_postgres(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    facts = database(**changes)
    assert bad([*postgres.server(facts), *postgres.schema("orchestration", facts, shipped())]) == [expected]


@pytest.mark.parametrize(("clock", "offset"), [(99.0, -1.0), (100.0, 0.0), (101.5, 0.0), (103.0, 0.0), (105.0, 2.0)])
def test_a_slow_answer_is_no_clock_that_differs(clock: float, offset: float) -> None:
    assert postgres.certain_offset(clock, 100.0, 103.0) == offset


T = TypeVar("T", bound=KafkaSettings)


def changed(**changes: Any) -> AllSettings:
    """Settings of which some differ from `GIVEN`."""

    def of(kind: T) -> T:
        return replace(kind, **{name: value for name, value in changes.items() if name in kind.__struct_fields__})

    return AllSettings(of(GIVEN.api), of(GIVEN.engine), of(GIVEN.projections))


@pytest.mark.parametrize(
    ("changes", "level", "part"),
    [
        ({"engine_session_timeout_seconds": 3.0}, "wrong", "SESSION_TIMEOUT_SECONDS is 3, but Kafka takes 6 to 1800"),
        ({"projections_session_timeout_seconds": 1801.0}, "wrong", "PROJECTIONS_SESSION_TIMEOUT_SECONDS is 1801, but"),
        ({"engine_session_timeout_seconds": 8.0}, "warning", "requests are answered 503 when an engine dies"),
        ({"auth_enabled": False}, "warning", "whoever reaches the API may do everything"),
        ({"auth_issuer": None}, "wrong", "ORCHESTRATION_AUTH_ENABLED needs ORCHESTRATION_AUTH_ISSUER"),
        ({"auth_audience": None}, "warning", "every token of the issuer may do everything"),
        ({"stack_client_id": "me"}, "wrong", "need each other"),
        ({"replication_factor": 4}, "wrong", "ORCHESTRATION_REPLICATION_FACTOR is 4, but there are 3 brokers"),
        ({"events_retention_seconds": 3600}, "warning", "what no engine has read by then is lost"),
        (
            {"retention_failed_days": 90},
            "warning",
            "RETENTION_SUCCEEDED_DAYS is not set: what may have to be retried is",
        ),
        (
            {"retention_aborted_days": 8, "retention_succeeded_days": 9},
            "warning",
            "RETENTION_ABORTED_DAYS is 8, ORCHESTRATION_RETENTION_SUCCEEDED_DAYS is 9",
        ),
        ({"retention_failed_days": 6, "retention_succeeded_days": 6}, "warning", "before somebody has looked at it"),
        ({"trigger_topics": "ledger, orchestration"}, "warning", "names orchestration, which this installation writes"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], level: str, part: str) -> None:
    ((found, text),) = bad(fitting.settings(changed(**changes), cluster().brokers))
    assert found == level
    assert part in text


def test_how_far_processes_are_behind() -> None:
    limits = {0: Limits(0, 100), 1: Limits(50, 20_000)}
    assert progress.commands("commands", limits, {0: 100, 1: 20_000}, engines=1).level == "ok"
    assert progress.commands("commands", limits, {0: 90}, engines=1).text == "19,960 commands wait"
    assert progress.commands("commands", limits, {0: 90}, engines=1).level == "warning"
    assert progress.commands("commands", limits, {0: 99, 1: 20_000}, engines=0).level == "wrong"
    assert progress.commands("commands", limits, {0: 100, 1: 20_000}, engines=0).level == "ok"


@pytest.mark.parametrize(
    ("positions", "limits", "expected"),
    [
        ({0: ReadPosition(90, topic_id="a")}, {0: Limits(0, 100)}, []),
        ({0: ReadPosition(90)}, {0: Limits(0, 20_000)}, [("warning", "19,910 records behind the log")]),
        (
            {0: ReadPosition(90, topic_id="b")},
            {0: Limits(0, 100)},
            [("wrong", "partition 0 of events was deleted and created again")],
        ),
        (
            {0: ReadPosition(190, topic_id="a")},
            {0: Limits(0, 100)},
            [("wrong", "partition 0 of events ends at offset 100, but records up to 190 were read")],
        ),
        (
            {0: ReadPosition(5)},
            {0: Limits(7, 100)},
            [
                ("wrong", "partition 0 of events begins at offset 7, but only records up to 5 were read"),
                ("warning", "partitions that have lost their oldest records: 0 at offset 7"),
            ],
        ),
        (
            {3: ReadPosition(5)},
            {0: Limits(0, 0)},
            [("wrong", "has positions of partitions that events does not have: 3")],
        ),
    ],
)
def test_whether_the_log_is_the_one_of_the_read_model(
    positions: dict[int, ReadPosition], limits: dict[int, Limits], expected: list[tuple[str, str]]
) -> None:
    assert bad(progress.read_model("events", "a", limits, positions)) == expected


def test_the_read_model_of_another_installation_is_told_from_a_topic_that_was_created_again() -> None:
    (found,) = progress.read_model("events", "a", {0: Limits(0, 5)}, {0: ReadPosition(3, topic_id="b")}, "x.events")
    assert (found.level, found.text) == ("wrong", "is of topic x.events, which is another installation's")
    assert found.remedy == "check ORCHESTRATION_TOPIC_PREFIX and ORCHESTRATION_DATABASE_SCHEMA"


async def examined(
    facts: Callable[[], ClusterFacts], look: Callable[[], PostgresFacts], memory: MemoryKafka
) -> list[Finding]:
    async def inspect(settings: Any, names: Any, groups: Any, ids: Any) -> ClusterFacts:
        return facts()

    async def ask(settings: Any) -> PostgresFacts:
        return look()

    async def ask_stack(settings: Any) -> int:
        return 404

    return [
        finding
        async for finding in examination.examine(GIVEN, inspect=inspect, look=ask, ask_stack=ask_stack, kafka=memory)
    ]


@pytest.fixture
async def memory() -> MemoryKafka:
    made = MemoryCluster()
    for topic in topics(ENGINE):
        made.create(NewTopic(topic.name, topic.partitions, 1))
    return MemoryKafka(made)


async def test_everything_is_looked_at(memory: MemoryKafka) -> None:
    groups = {**cluster().groups, "orchestration-engine": GroupFacts(None, "Stable", 1, {Place("commands", 0): 0})}
    findings = await examined(lambda: cluster(groups=groups), database, memory)
    assert bad(findings) == []
    about = [finding.about for finding in findings]
    assert about[:3] == ["settings", "brokers", "topic commands"]
    assert about[-7:-1] == ["Postgres", "clock", "schema orchestration", "topic commands", "read model", "encryption"]
    assert about[-1] == "stack http://127.0.0.1:8090"


async def test_a_disk_that_is_too_full_for_a_connection_is_told(memory: MemoryKafka) -> None:
    def look() -> PostgresFacts:
        raise psycopg.OperationalError("FATAL:  could not write init file: No space left on device")

    remedies = [finding.remedy for finding in await examined(cluster, look, memory) if finding.about == "Postgres"]
    assert remedies == ["make room on its disk: see *When the disk of Postgres is full* in docs/operations.md"]


async def test_what_is_away_does_not_hide_the_rest(memory: MemoryKafka) -> None:
    def away() -> ClusterFacts:
        raise KafkaUnreachable("no broker answers")

    def gone() -> PostgresFacts:
        raise psycopg.OperationalError("connection refused")

    findings = await examined(away, database, memory)
    assert bad(findings) == [("wrong", "can't be reached: no broker answers")]
    assert "schema orchestration" in {finding.about for finding in findings}
    findings = await examined(cluster, gone, memory)
    assert bad(findings) == [("wrong", "can't be asked: connection refused")]
    findings = await examined(away, gone, memory)
    assert [finding.level for finding in findings] == ["wrong", "ok", "wrong", "ok"]

    def unusable() -> PostgresFacts:
        raise SettingsError("not a URL")

    findings = await examined(cluster, unusable, memory)
    assert bad(findings) == [("wrong", "not a URL")]
    assert findings[-1].about.startswith("stack"), "what comes behind it is not looked at"


DEFAULT_STACK: Final = StackSettings()
OUR_STACK: Final = StackSettings(stack_url="http://stack")


@pytest.mark.parametrize(
    ("settings", "found", "expected"),
    [
        (OUR_STACK, 200, []),
        (OUR_STACK, 404, []),
        (OUR_STACK, 503, [("warning", "answers 503")]),
        (OUR_STACK, 401, [("wrong", "refuses our credentials with 401")]),
        (OUR_STACK, SettingsError("they need each other"), [("wrong", "they need each other")]),
        (OUR_STACK, NoToken("no access token: refused"), [("wrong", "no access token: refused")]),
        (OUR_STACK, NoAnswer("refused"), [("wrong", "can't be reached: refused. All calls of instances wait")]),
        (OUR_STACK, TimeoutError(), [("wrong", "does not answer within 10 s. All calls of instances wait")]),
        (
            DEFAULT_STACK,
            NoAnswer("refused"),
            [("warning", "can't be reached: refused; this is where it is looked for by default")],
        ),
    ],
)
def test_what_the_stack_answers(
    settings: StackSettings, found: int | Exception, expected: list[tuple[str, str]]
) -> None:
    assert bad([stack.finding(settings, found)]) == expected


def test_a_file_of_keys_that_everybody_may_read_is_warned_of(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    given = changed(encryption_keys_file=str(keys))
    assert bad(fitting.settings(given, cluster().brokers)) == []
    keys.chmod(0o644)
    ((level, text),) = bad(fitting.settings(given, cluster().brokers))
    assert level == "warning"
    assert text.startswith(f"ORCHESTRATION_ENCRYPTION_KEYS_FILE: everybody on this machine may read {keys}")
