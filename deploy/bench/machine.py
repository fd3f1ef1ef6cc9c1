"""The machine, the versions and the commit that figures belong to."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from msgspec import Struct

ROOT: Final = Path(__file__).resolve().parents[2]
"""Of a checkout; a folder of packages where this was installed otherwise."""
CPU_INFO: Final = Path("/proc/cpuinfo")
_MODEL: Final = re.compile(r"^(?:model name|Model)\s*:\s*(.+)$", re.MULTILINE)
COMMAND_SECONDS: Final = 10.0


class Machine(Struct, frozen=True, rename="camel"):
    """Where the load generator has run."""

    system: str
    kernel: str
    architecture: str
    cpu: str
    """Its model; `""` if the system does not tell."""
    cores: int
    """That the process may use."""
    memory_bytes: int


class Program(Struct, frozen=True, rename="camel"):
    """What has measured."""

    version: str
    python: str
    commit: str | None
    """None where this is not a checkout."""
    changed: bool
    """Whether the checkout has changes that are not committed."""


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        cpu=_cpu(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def this_program(root: Path = ROOT) -> Program:
    """What runs here.

    Args:
        root: of the checkout, if this is one.
    """
    commit = output_of("git", "-C", str(root), "rev-parse", "HEAD") if (root / ".git").exists() else ""
    changed = bool(commit) and bool(output_of("git", "-C", str(root), "status", "--porcelain"))
    return Program(version("orchestration"), platform.python_version(), commit or None, changed)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def output_of(*command: str) -> str:
    """What a command says in its first lines; `""` if it can't be run or fails."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own commands
            command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""


def _cpu() -> str:
    if CPU_INFO.exists():
        found = _MODEL.search(CPU_INFO.read_text(errors="replace"))
        return found[1].strip() if found else ""
    return output_of("sysctl", "-n", "machdep.cpu.brand_string")
