"""Our admin client: aiokafka's, on our client (see `client`)."""

from aiokafka.admin import AIOKafkaAdminClient

from schemas.kafka.client import adopt
from schemas.kafka.options import client_options
from schemas.settings import KafkaSettings


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    """Makes topics. Close it by `closing` or `close`.

    Args:
        settings: how to reach Kafka.
    """

    def __init__(self, settings: KafkaSettings):
        super().__init__(**client_options(settings))
        adopt(self._client)
