"""A small disk, which can be full. Only root can make one, and only on Linux."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
FILLER: Final = "filler"


class SmallDisk:
    """A file system in memory, of a bounded size.

    Args:
        folder: where it is mounted; made if needed.
        size_bytes: how much fits.
    """

    def __init__(self, folder: Path, size_bytes: int):
        self._folder = folder
        self._size = size_bytes
        self._mounted = False

    def mount(self) -> None:
        """Make it.

        Raises:
            OSError: we may not.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size},mode=700", "chaos", str(self._folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"no small disk can be mounted: {done.stderr.strip()}")
        self._mounted = True

    def fill(self) -> None:
        """Leave no room on it."""
        with contextlib.suppress(OSError), (self._folder / FILLER).open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(CHUNK_BYTES))

    def free(self) -> None:
        """Make room again."""
        (self._folder / FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Forget it and all that is on it. Fine to call when it was never made."""
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._folder)], capture_output=True, check=False)
            self._mounted = False


def can_mount() -> bool:
    """Whether this process may make a small disk."""
    return os.geteuid() == 0 and Path("/proc/mounts").exists()
