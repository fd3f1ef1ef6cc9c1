"""What compiling and evaluating an expression can raise.

`ExpressionSyntaxError` comes from `compile_expression` alone, `EvaluationError` and `LinkNeeded` from
`Expression.evaluate`. The messages are written for whoever wrote the expression: the API shows them.
"""


class ExpressionSyntaxError(Exception):
    """The expression does not compile."""


class EvaluationError(Exception):
    """The expression failed for this payload; evaluating it again gives the same error."""


class LinkNeeded(Exception):
    """`link()` wants the resource behind a URI; evaluate again with its answer among `links`.

    Attributes:
        uri: the URI as it stands in the payload, not yet checked against the allowed origins.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(f"the resource behind {uri} is needed")
        self.uri = uri
