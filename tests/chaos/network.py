"""The network between the processes: every connection goes through a proxy that knows who made it, and can be cut.

    engine-1 ─┐                 ┌─ proxy ─► kafka-1          a proxy for each address that somebody serves at
    kafka-2  ─┼─► connections ──┼─ proxy ─► kafka-1's controller
    api-2    ─┘                 └─ proxy ─► postgres         (a Unix socket)

Kafka advertises the proxies' ports, so clients and other brokers come this way. Who connects is found by the process
that has the other end of the connection open, so any two processes can be cut from each other, brokers too.

A cut acts on what one process sends to another, so it can have one direction. What is held is not lost, as little as
TCP loses anything: it comes when the cut is over, if both ends still have the connection.

All proxies run in a process of their own (`proxies`): while the tests fold a long log, a thread of theirs would get
the interpreter for a moment at every read and write of a socket, and the network would stand still for seconds.
"""

import json
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

Way = Literal["hold", "delay", "reset"]
"""`hold`: nothing arrives. `delay`: everything arrives later. `reset`: connections end, at once and when made."""

ANSWER_SECONDS: Final = 30.0
"""How long the proxies may take to carry out an order on a busy machine."""


@dataclass(frozen=True)
class Cut:
    """What happens to that which one process sends to another; in both directions it takes two.

    Args:
        sender: name of a process.
        receiver: name of another.
        way: what happens.
        seconds: how long things are delayed.
    """

    sender: str
    receiver: str
    way: Way = "hold"
    seconds: float = 0.0


def both_ways(one: str, other: str, way: Way = "hold", seconds: float = 0.0) -> list[Cut]:
    """Cuts of both directions between two processes."""
    return [Cut(one, other, way, seconds), Cut(other, one, way, seconds)]


class Network:
    """All proxies. Every method waits for them to have done it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Let connections through from now on."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.proxies"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stop(self) -> None:
        """End all connections. Fine to call when it was never started."""
        if self._process is not None:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.close()
            try:
                self._process.wait(ANSWER_SECONDS)
            finally:
                self._process.kill()
                self._process.wait()
                self._process.stdout.close()

    def know(self, pid_files: Mapping[str, Path]) -> None:
        """From now on these files tell the pids of the processes, by name."""
        self._order("know", {name: str(path) for name, path in pid_files.items()})

    def port_for(self, target: str, port: int) -> int:
        """A new port that leads to a port of a process."""
        listening: int = self._order("port", target, port)
        return listening

    def socket_for(self, target: str, path: Path, reached: Path) -> None:
        """A new Unix socket that leads to one of a process."""
        self._order("unix", target, str(path), str(reached))

    def cut(self, *cuts: Cut) -> None:
        """Begin these cuts, on the connections that exist and on new ones."""
        self._order("cut", [asdict(cut) for cut in cuts])

    def mend(self, *cuts: Cut) -> None:
        """End these cuts; all when none are given."""
        self._order("mend", [asdict(cut) for cut in cuts])

    def connected(self, one: str, other: str) -> int:
        """How many connections two processes have now."""
        count: int = self._order("connected", one, other)
        return count

    def _order(self, *order: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
            line = self._process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"the network does not carry out {order[0]!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]
