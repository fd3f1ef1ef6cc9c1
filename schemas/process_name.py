"""The stable name of a process in its consumer groups, without any setting: `<host name>-<number>`.

A process that comes back under its name gets its partitions again at once; under a new one it would wait until the
session of its former self ends. So each process locks a file for as long as it lives, in a folder that all processes of
this user on this host share, and has the number of the first file that nobody has locked. The system unlocks it however
the process ends, so a process that is started again in place of another one gets its number.

Where two hosts have one host name, two processes get one name. The later one has it, which Kafka tells the earlier one.
That one goes on under a random name: they would take the name from each other again and again.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import socket
import stat
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from schemas.settings import KafkaSettings, variable

logger = logging.getLogger(__name__)

MAX_NUMBERS: Final = 1000
"""Processes of a kind on one host. Without a bound, a folder that locks nothing would be tried for ever."""
MAX_HOST_LENGTH: Final = 200
"""Kafka takes names of 249 characters."""
UNNAMEABLE: Final = re.compile(r"[^a-zA-Z0-9._-]")
"""What Kafka does not take in a name."""

Kind = Literal["engine", "projections"]


def random_name() -> str:
    """A name that no other process has."""
    return f"{_host()}-{uuid.uuid4().hex}"


class ProcessName:
    """The name of one process, found when it is first asked for.

    Args:
        kind: of process. Each kind has groups of its own, so two kinds may have one name.
        given: by the user; found when it is not given.
        settings: say which installation it is. Two on one host have nothing to do with each other.
        another: makes a name that no other process has.
    """

    def __init__(
        self, kind: Kind, given: str | None, settings: KafkaSettings, another: Callable[[], str] = random_name
    ):
        self._kind, self._settings, self._another = kind, settings, another
        self._name = given
        self._lock: int | None = None

    @property
    def current(self) -> str:
        """The name to join groups under."""
        if self._name is None:
            self._name = self._find()
        return self._name

    def taken(self, name: str) -> None:
        """Go on under a random name, since another process has this one; nothing if that was done before."""
        if name == self._name:
            self._name = self._another()
            logger.warning(
                "another process has the name %s in the consumer groups, so this one goes on as %s; %s names processes"
                " apart whose hosts have one name",
                name,
                self._name,
                variable(f"{self._kind}_id"),
            )

    def release(self) -> None:
        """Let another process have the name."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _find(self) -> str:
        try:
            number = self._lock_first(_folder())
        except OSError as error:
            name = self._another()
            logger.warning("this process has the random name %s in the consumer groups: %s", name, error)
            return name
        return f"{_host()}-{number}"

    def _lock_first(self, folder: Path) -> int:
        """Lock the first file that is not locked.

        Raises:
            OSError: the folder can't be used.
        """
        installation = f"{self._settings.kafka_bootstrap_servers}\n{self._settings.topic_prefix}"
        digest = hashlib.sha256(installation.encode()).hexdigest()[:16]
        for number in range(MAX_NUMBERS):
            lock = os.open(
                folder / f"{self._kind}-{digest}-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            except OSError:
                os.close(lock)
                raise
            else:
                self._lock = lock
                return number
        raise OSError(f"{MAX_NUMBERS} processes have a name in {folder}")


def _folder() -> Path:
    """The folder of the locks, which belongs to this user alone.

    Raises:
        OSError: there is none.
    """
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(parent) / f"orchestration-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()  # others may make folders there too
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(f"{folder} is not a folder of this user")
    return folder


def _host() -> str:
    return UNNAMEABLE.sub("-", socket.gethostname())[:MAX_HOST_LENGTH]
