"""What the command line tells a user in one line, without a traceback."""


class DeployError(Exception):
    """A process can't be started or had to end. The message says why, and what to do where that isn't plain."""


class NotStopped(DeployError):
    """A process didn't end in order before its deadline."""


class DevError(DeployError):
    """`orchestration dev` can't start or keep its processes."""


class ScenarioError(DeployError):
    """A scenario can't be played by the demo, or didn't come out as it should."""


class TopicsError(DeployError):
    """The topics can't be made, or exist in another shape."""


class EventLogError(DeployError):
    """What was to be shown of the log is not in it, or it can't be read."""


class RepairError(DeployError):
    """What is wrong with the topics can't be found out, or can't be repaired."""


class Stopped(BaseException):
    """The user asked to stop (Ctrl-C, SIGTERM). Not an error: it only ends what is under way."""
