"""Several embedded brokers as one Kafka: each is broker and controller, and any one of them may be away.

Everything has a replica on each of them, up to three, and a write is acknowledged once two have it, as in an
installation that must not lose money.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from deploy.embedded.kafka import STOP_SECONDS, EmbeddedKafka, Node, new_cluster_id
from deploy.embedded.ports import HOST, free_ports

HEAP_MB: Final = 256
"""Heap of each broker. Several brokers share a machine, and with the 512 MB of a broker that is alone three of them
would take the memory of everything else."""
MAX_REPLICAS: Final = 3
"""Replicas of each topic; with more brokers than these, each has a part of the topics."""

Reach = Callable[[int, str, int], int]
"""At which port others reach a node: from its id, `broker` or `controller`, and the port where it listens."""


class EmbeddedCluster:
    """A Kafka of several brokers as our children. Its ports stay the same as long as the object lives.

    Args:
        data_dir: folder for its data, made if needed: `cluster_id`, and a folder `kafka-<n>` for each broker. One
            cluster at a time may use it.
        nodes: how many brokers.
        reach: puts something between the brokers and whoever calls them, other brokers included; they are reached
            directly when not given.
        properties: of every broker's configuration, beside or instead of ours.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        nodes: int = 3,
        reach: Reach = lambda node, listener, port: port,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        numbers = range(1, nodes + 1)
        free = free_ports(2 * nodes)
        ports = dict(zip(numbers, zip(free[::2], free[1::2], strict=True), strict=True))
        brokers = {n: f"{HOST}:{reach(n, 'broker', ports[n][0])}" for n in numbers}
        controllers = {n: f"{HOST}:{reach(n, 'controller', ports[n][1])}" for n in numbers}
        shared = {
            **_replication(nodes),
            "controller.quorum.voters": ",".join(f"{n}@{address}" for n, address in controllers.items()),
            **(properties or {}),
        }
        cluster_id = _cluster_id(data_dir / "cluster_id")
        self.bootstrap_servers = ",".join(brokers.values())
        self.nodes: dict[int, EmbeddedKafka] = {}
        self.folders = {n: data_dir / f"kafka-{n}" for n in numbers}
        """Of each broker."""
        for n in numbers:
            own = {
                "node.id": str(n),
                "advertised.listeners": f"PLAINTEXT://{brokers[n]},CONTROLLER://{controllers[n]}",
            }
            node = Node(cluster_id, ports[n], {**own, **shared}, HEAP_MB)
            self.nodes[n] = EmbeddedKafka(self.folders[n], node=node)

    def start(self) -> str:
        """Start all brokers and wait until they serve; returns the bootstrap servers.

        Raises:
            EmbeddedError: as a single broker.
        """
        # Each waits for the others: none serves without a quorum of controllers.
        try:
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(EmbeddedKafka.start, self.nodes.values()))
        except BaseException:
            self.kill()
            raise
        return self.bootstrap_servers

    def kill(self) -> None:
        """End all brokers at once. Fine to call when none runs."""
        for broker in self.nodes.values():
            broker.kill()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """End all brokers in order, or kill them when the time is over. Fine to call when none runs."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda broker: broker.stop(timeout_seconds), self.nodes.values()))

    def controller(self) -> int | None:
        """The node that leads the others, by the newest election that any of them has written down; None before."""
        newest: tuple[int, int] | None = None
        for folder in self.folders.values():
            try:
                state = json.loads((folder / "data" / "__cluster_metadata-0" / "quorum-state").read_text())
                election = (int(state["leaderEpoch"]), int(state["leaderId"]))
            except (OSError, ValueError, KeyError):
                continue
            if election[1] in self.nodes:
                newest = max(newest or election, election)
        return newest[1] if newest else None


def _replication(nodes: int) -> dict[str, str]:
    replicas = str(min(nodes, MAX_REPLICAS))
    in_sync = str(max(1, min(nodes, MAX_REPLICAS) - 1))
    return {
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _cluster_id(file: Path) -> str:
    if not file.exists():
        file.write_text(new_cluster_id())
    return file.read_text()
