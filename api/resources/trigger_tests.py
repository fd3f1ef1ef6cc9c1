"""The test of a trigger: what it would do with a payload (contract: `triggers-and-events`, Trigger test).

The filter and the variables are evaluated as they are when a message comes; `link()` does fetch. All of it together is
bounded in time, steps and size: past a bound, what is left has the bound as its error.
"""

import asyncio
from typing import Any, Final

import msgspec

from api.errors import Invalid
from api.ports import TriggerRow
from api.resources.triggers import get_trigger
from api.services import Services
from schemas.expressions import Allowance, EvaluationError, Expression, LinkAnswer, Variable, is_match
from schemas.expressions.limits import MAX_VARIABLES_LENGTH, excess
from schemas.resources import FilterResult, TriggerTest, VariableResult

TEST_TIMEOUT_SECONDS: Final = 15.0
"""How long a whole test may take, links included. Each link may take 10 seconds, so without this limit a test with
several links would outlast its client."""


async def test_trigger(services: Services, trigger_id: str, body: Any) -> TriggerTest:
    """What a trigger would do with a payload.

    Args:
        services: the outside world.
        trigger_id: from the path.
        body: the decoded body, the payload.

    Raises:
        Invalid: the body is not an object.
        NotFound: the trigger does not exist, or was deleted.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object, the payload of a message")
    row = await get_trigger(services, trigger_id)
    evaluation = _Evaluation(services, body)
    tested = TriggerTest()
    if row.filter:
        result = await evaluation.filter(row.filter)
        tested = TriggerTest(filter=result)
        if not result.match:
            return tested
    if texts := _variables(row):
        problem = excess(row.filter, texts)
        results = {
            name: await evaluation.variable(text) if problem is None else VariableResult(error=problem)
            for name, text in texts.items()
        }
        return msgspec.structs.replace(tested, variables=results)
    return tested


def _variables(row: TriggerRow) -> dict[str, str]:
    return {} if row.vars is None else msgspec.json.decode(row.vars, type=dict[str, str])


class _Evaluation:
    """Evaluates on one payload, all by one deadline and one allowance. Each link is fetched once."""

    def __init__(self, services: Services, payload: dict[str, Any]):
        self._services = services
        self._payload = payload
        self._links: dict[str, LinkAnswer] = {}
        self._allowance = Allowance()
        self._length = 0
        self._deadline = asyncio.get_running_loop().time() + TEST_TIMEOUT_SECONDS

    async def filter(self, text: str) -> FilterResult:
        """Whether the filter matches; a value that is not a boolean does not."""
        try:
            return FilterResult(match=is_match(await self._value(Expression(text))))
        except EvaluationError as error:
            return FilterResult(match=False, error=str(error))

    async def variable(self, text: str) -> VariableResult:
        """The value of a variable; the empty text for nil."""
        try:
            value = await self._value(Variable(text)) or ""
        except EvaluationError as error:
            return VariableResult(error=str(error))
        self._length += len(value)
        if self._length > MAX_VARIABLES_LENGTH:
            return VariableResult(error=f"the variables have more than {MAX_VARIABLES_LENGTH} characters")
        return VariableResult(value=value)

    async def _value(self, expression: Expression) -> Any:
        try:
            async with asyncio.timeout_at(self._deadline):
                await asyncio.sleep(0)  # the deadline has its effect also where nothing waits
                return await self._services.links.evaluate(expression, self._payload, self._links, self._allowance)
        except TimeoutError:
            raise EvaluationError(f"not evaluated within {TEST_TIMEOUT_SECONDS:g} s") from None
