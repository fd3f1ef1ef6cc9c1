"""What a ledger takes as the address of an account and as an asset (contract: `stack-api`, Ledger)."""

import re
from typing import Final

ADDRESS: Final = re.compile(r"[a-zA-Z0-9_-]+(:[a-zA-Z0-9_-]+)*")
ASSET: Final = re.compile(r"[A-Z][A-Z0-9]{0,16}(/[0-9]{1,6})?")
