"""What the sandbox answers instead of results: each type is one `errorCode` and status (contract: `stack-api`)."""

from typing import ClassVar


class SandboxError(Exception):
    """A request that is refused; nothing was changed. The text becomes `errorMessage`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"


class InternalError(SandboxError):
    """The wallets' answer to whatever their own checks don't foresee (a source without money, an unknown balance)."""


class ValidationError(SandboxError):
    """A body, address, asset or amount that can't be accepted, or an idempotency key reused for another request."""

    status = 400
    code = "VALIDATION"


class NoPostingsError(SandboxError):
    """A transaction with neither postings nor a script."""

    status = 400
    code = "NO_POSTINGS"


class CompilationFailedError(SandboxError):
    """A script beyond what the sandbox reads."""

    status = 400
    code = "COMPILATION_FAILED"


class InsufficientFundError(SandboxError):
    """A source account other than `world` holds too little."""

    status = 400
    code = "INSUFFICIENT_FUND"

    def __init__(self, address: str) -> None:
        super().__init__(f"account @{address} has insufficient funds")


class ReferenceConflictError(SandboxError):
    """A transaction reference that was used before."""

    status = 409
    code = "CONFLICT"


class TransferReferenceConflictError(SandboxError):
    """A transfer initiation's reference that was used before; the payments service answers 400, not 409."""

    status = 400
    code = "CONFLICT"


class LedgerNotFoundError(SandboxError):
    """A ledger that nobody created."""

    status = 404
    code = "LEDGER_NOT_FOUND"


class LedgerExistsError(SandboxError):
    """A ledger created twice."""

    status = 400
    code = "LEDGER_ALREADY_EXISTS"


class NotFoundError(SandboxError):
    """A payment that does not exist."""

    status = 404
    code = "NOT_FOUND"


class WalletNotFoundError(SandboxError):
    """A wallet or hold that does not exist; answered with an empty body."""

    status = 404
    code = "NOT_FOUND"


class HoldClosedError(SandboxError):
    """A hold that was confirmed or voided already."""

    status = 400
    code = "HOLD_CLOSED"


class UnauthorizedError(SandboxError):
    """A missing, expired or revoked access token."""

    status = 401
    code = "UNAUTHORIZED"


class TooLargeError(SandboxError):
    """A request body above the limit."""

    status = 413
    code = "REQUEST_TOO_LARGE"


class SandboxFullError(SandboxError):
    """The sandbox took as many writes as it may hold in memory; `POST /sandbox/reset` empties it."""

    status = 503
    code = "SANDBOX_FULL"
