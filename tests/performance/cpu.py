"""CPU time of an installation's processes, and of everybody else's, from the operating system."""

import time

import psutil

Reading = dict[str, float]


class CpuMeter:
    """Reads the CPU seconds of a process and its descendants, by name.

    Args:
        pid: the process that started them.
    """

    def __init__(self, pid: int):
        self._root = psutil.Process(pid)

    def read(self) -> Reading:
        """CPU seconds so far, user and system."""
        reading: Reading = {"client": _seconds(self._root)}
        for process in self._root.children(recursive=True):
            try:
                name = _name(process)
                reading[name] = reading.get(name, 0.0) + _seconds(process)
            except psutil.NoSuchProcess:  # a backend of Postgres that has ended meanwhile
                continue
        return reading

    def since(self, before: Reading, requests: int) -> Reading:
        """CPU seconds per request since an earlier reading."""
        return {name: (now - before.get(name, 0.0)) / max(requests, 1) for name, now in self.read().items()}


class OtherPrograms:
    """The share of the machine that others take: not an installation, and not this process.

    Args:
        pid: the process that started the installation.
    """

    def __init__(self, pid: int):
        self._meter, self._own = CpuMeter(pid), psutil.Process()
        self.begin()

    def begin(self) -> None:
        """Count from here on."""
        self._at, self._others = time.monotonic(), self._read()

    def share(self) -> float:
        """Theirs since then, from 0 to 1."""
        seconds = (time.monotonic() - self._at) * (psutil.cpu_count() or 1)
        return min(max((self._read() - self._others) / seconds, 0.0), 1.0)

    def _read(self) -> float:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # What runs in guests is in the times of users, too.
        busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return float(busy - _seconds(self._own) - sum(self._meter.read().values()))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "deploy.cli" in words:
        return words[words.index("deploy.cli") + 1]
    return {"java": "kafka"}.get(process.name(), "postgres" if "postgres" in process.name() else "other")
