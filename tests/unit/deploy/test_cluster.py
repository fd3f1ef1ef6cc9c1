"""Several embedded brokers as one cluster, as they are configured; `tests/integration/test_chaos.py` runs one."""

import json
from pathlib import Path

import pytest

from deploy.embedded.cluster import EmbeddedCluster


def configured(cluster: EmbeddedCluster) -> dict[int, dict[str, str]]:
    """The configuration that each broker would be started with."""
    found = {}
    for number, broker in cluster.nodes.items():
        assert broker._node
        cluster.folders[number].mkdir(exist_ok=True)
        text = broker._configure(*broker._node.ports).read_text()
        found[number] = dict(line.split("=", 1) for line in text.splitlines())
    return found


def test_brokers_listen_where_nobody_else_does_and_are_reached_by_way_of_something(tmp_path: Path) -> None:
    asked: dict[tuple[int, str], int] = {}

    def reach(node: int, listener: str, port: int) -> int:
        asked[node, listener] = port
        return 40_000 + 10 * node + (listener == "controller")

    cluster = EmbeddedCluster(tmp_path, reach=reach)
    assert len(set(asked.values())) == 6
    assert cluster.bootstrap_servers == "127.0.0.1:40010,127.0.0.1:40020,127.0.0.1:40030"
    for number, properties in configured(cluster).items():
        assert properties["node.id"] == str(number)
        broker, controller = asked[number, "broker"], asked[number, "controller"]
        assert properties["listeners"] == f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}"
        advertised = f"PLAINTEXT://127.0.0.1:400{number}0,CONTROLLER://127.0.0.1:400{number}1"
        assert properties["advertised.listeners"] == advertised
        assert properties["controller.quorum.voters"] == "1@127.0.0.1:40011,2@127.0.0.1:40021,3@127.0.0.1:40031"


@pytest.mark.parametrize(("nodes", "replicas", "in_sync"), [(1, "1", "1"), (3, "3", "2"), (5, "3", "2")])
def test_one_replica_may_be_away(tmp_path: Path, nodes: int, replicas: str, in_sync: str) -> None:
    for properties in configured(EmbeddedCluster(tmp_path, nodes=nodes)).values():
        assert properties["default.replication.factor"] == replicas
        assert properties["min.insync.replicas"] == properties["transaction.state.log.min.isr"] == in_sync
        assert properties["offsets.topic.replication.factor"] == replicas


def test_a_cluster_keeps_its_id(tmp_path: Path) -> None:
    first, again = EmbeddedCluster(tmp_path).nodes, EmbeddedCluster(tmp_path).nodes
    ids = {broker._node.cluster_id for broker in (*first.values(), *again.values()) if broker._node}
    assert len(ids) == 1


def test_the_controller_is_that_of_the_newest_election(tmp_path: Path) -> None:
    cluster = EmbeddedCluster(tmp_path)
    assert cluster.controller() is None
    for number, (epoch, leader) in {1: (4, 1), 2: (5, 3), 3: (6, -1)}.items():
        folder = cluster.folders[number] / "data" / "__cluster_metadata-0"
        folder.mkdir(parents=True)
        (folder / "quorum-state").write_text(json.dumps({"leaderEpoch": epoch, "leaderId": leader}))
    assert cluster.controller() == 3
