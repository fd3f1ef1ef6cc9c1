"""What the seeds of the suite have to meet."""

from typing import Final

SITUATIONS: Final = """
account to account: CreateTransaction
account to account: CreateTransaction CreateTransaction
account to wallet: CreditWallet
account to wallet: CreateTransaction CreditWallet
account to payment: CreateTransaction CreateTransferInitiation
wallet to account: DebitWallet
wallet to account: DebitWallet CreateTransaction
wallet to wallet: CreditWallet
wallet to wallet: DebitWallet CreditWallet
wallet to payment: DebitWallet CreateTransferInitiation
payment to account: CreateTransaction CreateTransaction
payment to account: CreateTransaction CreateTransaction CreateTransaction
payment to wallet: CreateTransaction CreditWallet
payment to wallet: CreateTransaction CreateTransaction CreditWallet
overdraft
money came after INSUFFICIENT_FUND
a payment had been ingested before
refused for good
a stage failed
aborted in the first attempt
aborted while retrying
a late success
a late failure
a late result did not fit while its instance ran again
EvaluationStarted
EvaluationFailed
EvaluationEnded
TriggerFired
TriggerFailed
a snapshot was written
a snapshot was failed
a snapshot was fenced
records were restored from snapshots
events have expired
a snapshot was harmed
a snapshot was harmed, but is one
the last snapshot was lost
a harmed snapshot was replaced
SET_ASIDE
killed
killed and back
ended
stopped
cut off
evicted
rebalanced
failed over
without coordinator
without transactions
answered 200
answered 201
answered 204
answered 400
answered 404
answered 409
answered 413
answered 503
not answered
aborted by a client
retried by a client
a workflow was not run after its deletion
an instance was reached by a bulk operation
a retry was refused
resumed by a client
a resume was refused
retried
waited for an end
a key was used again
a key was used for something else
the database crashed
announcements were lost
an occurrence was shown
an instance was followed to its end
a stream was cut, and followed again
a list was to be read again
a change was told in a list
an instance was deleted
an instance was not found any more
an instance came back by a retry
a run was refused whose instance is deleted
300 stages
a turn was full
an instance was flooded
many keyed events
a deep history
encrypted
encrypted, and nothing else is taken
encryption has begun
the key has changed
encryption has begun at once
the key has changed at once
transactions have ended side by side
a transaction was in several partitions
submissions were aborted
a retried instance forgot requests
a forgotten request came again
a bulk operation left alone what was aborted
an abort came as soon as a retry was carried out
aborts came again behind a retry
a source came later
a source got more partitions
topics of ours got more partitions
an engine believed in another number of partitions
"""
"""What the seeds have to meet: every pair, on one ledger and on two, whatever may become of an activity, what happens
to snapshots, what strikes processes, the cluster and the database, and what clients of the API are answered."""
