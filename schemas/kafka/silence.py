"""Which brokers don't answer, as all clients of this process know it.

A broker that is silent (its process hangs, or its network swallows packets) keeps its connections open, so each request
to it costs a whole timeout. Kafka gives its partitions to others after about 9 s; from then on only clients that still
ask it lose time.

- *suspect*: did not answer, and has not been heard since. It is asked last for what any broker can answer.
- *refused*: became a suspect a moment ago. Nothing is sent to it now, not even by another client.
"""

import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

logger = logging.getLogger(__name__)

REFUSED_SECONDS: Final = 1.0
"""How long nothing is sent to a broker that did not answer. Without it each client would wait for it again and again;
much longer, and a broker that is back would stay unused."""

REFUSALS: Final = (SaslAuthenticationFailed, IllegalSaslStateError, UnsupportedSaslMechanismError, ssl.SSLError)
"""Errors of a broker that answers, but with which we can't talk: passwords and certificates do not fit."""

Address = tuple[str, int]
"""Host and port."""


class SilentBrokers:
    """Brokers that did not answer, or can't be reached.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._refused_until: dict[Address, float] = {}
        self._refusing: set[Address] = set()
        """Those of which is logged that they refuse us, and that have not answered since."""

    def noticed(self, address: Address, error: BaseException) -> None:
        """Note that the broker did not answer, or can't be reached. The first time in a row is logged.

        So is the first time that it refuses us: it may do so after a restart, and has not answered in between.
        """
        refuses = isinstance(error, REFUSALS)
        if address not in self._refused_until or (refuses and address not in self._refusing):
            what = "can't be used" if refuses else "does not answer"
            logger.warning("the Kafka broker %s:%d %s: %r", *address, what, error)
        if refuses:
            self._refusing.add(address)
        # A connection that is refused costs no time, and may be there again in a moment.
        seconds = REFUSED_SECONDS if isinstance(error, TimeoutError) else 0.0
        self._refused_until[address] = self._clock() + seconds

    def heard(self, address: Address) -> None:
        """Note that the broker answered."""
        if self._refused_until and self._refused_until.pop(address, None) is not None:
            self._refusing.discard(address)
            logger.info("the Kafka broker %s:%d answers again", *address)

    def suspects(self, address: Address) -> bool:
        """Whether the broker did not answer when it was last asked."""
        return address in self._refused_until

    def refuses(self, address: Address) -> bool:
        """Whether nothing may be sent to the broker now."""
        return self._clock() < self._refused_until.get(address, 0.0)


SILENT: Final = SilentBrokers()
"""Those of this process. What one client has found out, the others need not wait for."""
