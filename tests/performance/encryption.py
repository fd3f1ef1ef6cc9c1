"""What encryption at rest costs: a record sealed and opened, and two installations side by side, one of which encrypts.

Rounds of the two alternate, since figures of shared machines drift. While one is measured, the other has nothing to do.
"""

import argparse
import os
import tempfile
import timeit
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop

from deploy.bench.figures import Figures
from deploy.installation import Installation, Options
from schemas.encryption.keys import Keys
from schemas.encryption.vault import OpenedRecord, Vault
from schemas.events import EventReceived
from schemas.records import RecordCodec
from schemas.settings import variable
from tests.performance.client import Client
from tests.performance.cpu import CpuMeter
from tests.performance.figures import print_ratios, print_table
from tests.performance.fresh import NOOP
from tests.performance.sends import SEND

CLIENTS: Final = 64
OFF, ON = "plain", "encrypted"
SIZES: Final = (50, 500, 5000)
REPEATS: Final = 7
CALLS: Final = 5000


def add_options(parser: argparse.ArgumentParser) -> None:
    """What may be asked for."""
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each kind, alternating")
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds before the first round, each")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    print_records()
    with _installation(None) as plain, _installation("k") as encrypted:
        uvloop.run(_measure({OFF: plain, ON: encrypted}, options))


def print_records() -> None:
    """The time that a record takes, by its size; the least of some repetitions."""
    codec, vault = RecordCodec(), Vault(Keys({"k": os.urandom(32)}, "k"))
    for size in SIZES:
        event = EventReceived(at=datetime.now(UTC), name="x" * size)
        record = codec.encode("0" * 36, event, timestamp_ms=0, version=1, cause=3, epoch=0)
        sealed = vault.seal("events", 0, record)
        stored = OpenedRecord(0, sealed.key, sealed.value, tuple(sealed.headers))
        plain = OpenedRecord(0, record.key, record.value, tuple(record.headers))
        times = {
            "encode": lambda event=event: codec.encode("0" * 36, event, timestamp_ms=0, version=1, cause=3, epoch=0),
            "seal": lambda record=record: vault.seal("events", 0, record),
            "open": lambda stored=stored: vault.open("events", 0, stored),
            "decode": lambda plain=plain: codec.decode_event(plain),
        }
        shown = "  ".join(
            f"{name} {min(timeit.repeat(call, number=CALLS, repeat=REPEATS)) / CALLS * 1e6:.1f} µs"
            for name, call in times.items()
        )
        grown = (
            len(sealed.value or b"")
            + sum(len(k) + len(v or b"") for k, v in sealed.headers[:1])
            - len(record.value or b"")
        )
        print(f"a record of {len(record.value or b'')} bytes: {shown}, {grown} bytes more")


@contextmanager
def _installation(key: str | None) -> Iterator[Installation]:
    """An installation of its own; with a key it encrypts."""
    with tempfile.TemporaryDirectory() as folder:
        given = {}
        if key is not None:
            file = Path(folder) / "keys"
            file.write_text(f"{key}: {b64encode(os.urandom(32)).decode()}\n")
            given = {variable("encryption_keys_file"): str(file), variable("encryption_key_id"): key}
        os.environ.update(given)
        try:
            installation = Installation(Options(0, Path(folder) / "data", sandbox=True, quiet=True))
            with installation:
                for name in given:
                    del os.environ[name]
                yield installation
        finally:
            for name in given:
                os.environ.pop(name, None)


async def _measure(installations: dict[str, Installation], options: argparse.Namespace) -> None:
    rows: list[Figures] = []
    for title, definition in (("run and wait", NOOP), ("send", SEND)):
        workflows: dict[str, str] = {}
        for kind, installation in installations.items():
            async with Client(installation.url, 1) as load:
                workflows[kind] = await load.create_workflow(definition)
            await _round(installation, title, workflows[kind], options.warm_up)
        for _ in range(options.rounds):
            for kind, installation in installations.items():
                rows.append(await _round(installation, f"{title}, {kind}", workflows[kind], options.seconds))
    print_table(rows)
    for title in ("run and wait", "send"):
        print_ratios(rows, f"{title}, {ON}", f"{title}, {OFF}")


async def _round(installation: Installation, name: str, workflow: str, seconds: float) -> Figures:
    meter = CpuMeter(os.getpid())
    async with Client(installation.url, CLIENTS) as load:
        before = meter.read()
        figures = await load.run_and_wait(name, seconds, workflow)
        figures.cpu = meter.since(before, figures.count)
    return figures
