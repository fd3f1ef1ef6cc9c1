"""What commands of bulk operations have to come to, told from the log alone, without a bound of what is remembered."""

from collections.abc import Set
from dataclasses import dataclass, field

from engine.core.bulk import MAX_RUNNING
from schemas import commands as cm
from schemas import events as ev
from schemas import rejections

BulkCommand = cm.StartBulk | cm.AdvanceBulk | cm.StopBulk | cm.EndBulk


@dataclass
class Operation:
    """A bulk operation as far as commands look at it."""

    digest: str | None
    pages: int = 0
    stopping: bool = False
    ended: bool = False
    instances: set[str] = field(default_factory=set)
    """Those of all pages."""


@dataclass
class BulkOutcomes:
    """Of one partition."""

    operations: dict[str, Operation] = field(default_factory=dict)
    acted: dict[tuple[str, str], int] = field(default_factory=dict)
    """Operations and instances whose command was decided here, with the page."""
    pages: dict[str, int] = field(default_factory=dict)
    """By operation, the last page of which something was decided here."""

    def is_repeated(self, id: str, command: cm.PageCommand) -> bool:
        """Whether an instance was sent a command by this operation before."""
        assert command.bulk_id is not None
        page = self.pages.get(command.bulk_id, 0)
        acted = (command.bulk_id, id) in self.acted
        assert acted or command.bulk_page >= page, (
            f"{id} of page {command.bulk_page} is new after page {page} has begun"
        )
        return acted

    def wanted(self, id: str, command: BulkCommand) -> Set[str]:
        """The outcomes that are right for a command to an operation."""
        known = self.operations.get(id)
        match command:
            case cm.StartBulk() if known is not None:
                return {"skipped"} if known.digest == command.request_digest else {rejections.CONFLICT}
            case cm.StartBulk():
                running = sum(not operation.ended for operation in self.operations.values())
                return {"decided"} if running < MAX_RUNNING else {rejections.TOO_MANY}
            case _ if known is None or known.ended:
                return {"skipped"}
            case cm.AdvanceBulk():
                return {"decided"} if command.page == known.pages and not known.stopping else {"skipped"}
            case cm.StopBulk():
                return {"skipped"} if known.stopping else {"decided"}
            case cm.EndBulk():
                return {"decided"} if command.pages == known.pages else {"skipped"}

    def fold(self, id: str, event: object) -> None:
        """Take in an event of any kind."""
        match event:
            case ev.BulkStarted():
                assert id not in self.operations, f"bulk operation {id} started twice"
                self.operations[id] = Operation(event.request_digest)
            case ev.BulkAdvanced():
                operation = self.operations[id]
                assert event.page == operation.pages, f"page {event.page} follows page {operation.pages - 1}"
                twice = operation.instances.intersection(event.instances)
                assert not twice, f"{twice} is in two pages"
                assert len(set(event.instances)) == len(event.instances), "an instance is in a page twice"
                operation.pages += 1
                operation.instances.update(event.instances)
                assert event.sent == len(operation.instances)
            case ev.BulkStopped():
                self.operations[id].stopping = True
            case ev.BulkEnded():
                self.operations[id].ended = True
            case ev.InstanceEnded() | ev.ActivityResumed() | ev.InstanceRetried() | ev.CommandRejected() if (
                event.bulk_id is not None
            ):
                place = event.bulk_id, id
                assert place not in self.acted, f"bulk operation {event.bulk_id} has acted on {id} twice"
                self.acted[place] = event.bulk_page
                assert event.bulk_page >= self.pages.get(event.bulk_id, 0), "pages went back"
                self.pages[event.bulk_id] = event.bulk_page
