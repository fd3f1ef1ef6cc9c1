"""CPU time of an installation's processes, from the operating system."""

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


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "deploy.cli" in words:
        return words[words.index("deploy.cli") + 1]
    return {"java": "kafka"}.get(process.name(), "postgres" if "postgres" in process.name() else "other")
