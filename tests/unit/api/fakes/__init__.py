"""What stands behind the API in its unit tests: a log and a read model in memory, and a client that calls the app.

`Backend` is the engine and the projections in one.
"""

from tests.unit.api.fakes.backend import PARTITION, START, Backend
from tests.unit.api.fakes.client import Answer, Client, client_of, make_client
from tests.unit.api.fakes.read_model import FakeReadModel
from tests.unit.api.fakes.services import FakeCommandLog, FakePositions, fake_services

__all__ = (
    "PARTITION",
    "START",
    "Answer",
    "Backend",
    "Client",
    "FakeCommandLog",
    "FakePositions",
    "FakeReadModel",
    "client_of",
    "fake_services",
    "make_client",
)
