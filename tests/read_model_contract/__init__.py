"""What must hold of the API's queries, whichever `projections.ports.Database` they run on: a file for each subject.

`tests/integration/test_queries.py` runs it on Postgres, `tests/unit/projections/test_memory_queries.py` on the read
model in memory.
"""

from tests.read_model_contract.histories import HistoriesContract
from tests.read_model_contract.instances import InstancesContract
from tests.read_model_contract.lists import ListsContract
from tests.read_model_contract.subjects import Subject
from tests.read_model_contract.triggers import TriggersContract
from tests.read_model_contract.waiting import WaitingContract

__all__ = ("ReadModelContract", "Subject")


class ReadModelContract(InstancesContract, HistoriesContract, ListsContract, TriggersContract, WaitingContract):
    """All of it. A test class that runs it has a fixture `subject`."""
