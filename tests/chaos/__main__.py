"""`python -m tests.chaos --instances 2000 --kill-seconds 4 --seed 1`: money under kills, on a fresh Kafka and Postgres.

Runs that many instances of all `send` pairs against the sandbox, a fifth of whose calls fail, half of those after they
were done, while the engine is killed with SIGKILL every few seconds. Some instances are aborted, some are short of
money until another one brings it. In the end every instance must have ended, the log must follow the contract's rules
about attempts, retries and aborts, the sandbox's books must hold every transaction exactly once and no other, and the
API must show of every activity what the log says. The seed decides what is run and the pauses between kills; what the
kills meet is up to the machine.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.postgres import EmbeddedPostgres
from tests.chaos.load import Load
from tests.integration.installation import Installation


async def _run(folder: Path, kafka: EmbeddedKafka, postgres: EmbeddedPostgres, options: argparse.Namespace) -> None:
    async with Installation(kafka.bootstrap_servers, postgres.url, folder, sandbox=True) as installation:
        load = Load(installation, options.instances, options.kill_seconds, options.seed)
        begin = time.monotonic()
        met = await load.run()
    print(f"seed {options.seed}: {len(load.started)} instances, {load.kills} kills, {time.monotonic() - begin:.0f} s")
    for words, count in sorted(met.items()):
        print(f"{count:7} {words}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=2000, help="how many, deposits apart")
    parser.add_argument("--kill-seconds", type=float, default=4.0, help="average pause between two kills")
    parser.add_argument("--seed", type=int, default=1, help="decides what is run and when the engine is killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka, postgres = EmbeddedKafka(folder / "kafka"), EmbeddedPostgres(folder / "postgres")
        try:
            kafka.start()
            postgres.start()
            (folder / "processes").mkdir()
            asyncio.run(_run(folder / "processes", kafka, postgres, options))
        finally:
            postgres.stop()
            kafka.stop()


if __name__ == "__main__":
    main()
