"""What compiling and evaluating an expression can raise.

`ExpressionSyntaxError` comes from compiling alone, the others from `Expression.evaluate`. The messages are written for
whoever wrote the expression: the API shows them.
"""

from schemas.error_texts import BoundedError


class ExpressionSyntaxError(BoundedError):
    """The expression does not compile."""


class EvaluationError(BoundedError):
    """The expression failed for this payload; evaluating it again gives the same error."""


class StepsNeeded(Exception):
    """The evaluation needs more steps than its caller has offered; evaluate again with more, away from others."""


class LinkNeeded(Exception):
    """`link()` wants the resource behind a URI; evaluate again with its answer among `links`.

    Attributes:
        uri: the URI as it stands in the payload, not yet checked against the allowed origins.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(f"the resource behind {uri} is needed")
        self.uri = uri
