"""What must hold of `schemas.kafka.ports`, whoever implements them: a file for each port.

`tests/integration/test_kafka_room.py` runs it on a real Kafka, `tests/unit/schemas/kafka/test_memory.py` on the cluster
in memory.
"""

from tests.kafka_contract.members import MemberContract
from tests.kafka_contract.producers import ProducerContract
from tests.kafka_contract.readers import ReaderContract
from tests.kafka_contract.subjects import Away, Subject
from tests.kafka_contract.topics import TopicsContract
from tests.kafka_contract.transactions import TransactionsContract

__all__ = ("Away", "KafkaContract", "Subject")


class KafkaContract(ProducerContract, ReaderContract, TransactionsContract, TopicsContract, MemberContract):
    """All of it. A test class that runs it has a fixture `subject`."""
