"""What can go wrong while Kafka and Postgres are started. Each message is one line that a user can act on."""

from deploy.errors import DeployError


class EmbeddedError(DeployError):
    """An embedded service can't run."""


class DownloadFailed(EmbeddedError):
    """Kafka's jars could not be brought into the cache."""


class JavaMissing(EmbeddedError):
    """Java is missing, which Kafka needs."""


class PortInUse(EmbeddedError):
    """A port that was asked for belongs to another process."""


class StartFailed(EmbeddedError):
    """The program ended, or was not ready in time. The message ends with what it said last."""


class DataInUse(EmbeddedError):
    """Another process still runs on the same data directory and didn't end in time."""
