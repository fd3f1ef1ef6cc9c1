"""The counts that rows of the read model come to."""

from collections.abc import Iterable

from projections.counting import Counts, add_instance, add_stage
from projections.rows import Instance, PastStage, Stage


def counted_again(instances: Iterable[Instance], stages: Iterable[Stage | PastStage]) -> Counts:
    """The counts that rows come to."""
    counts: Counts = Counts()
    workflows: dict[str, str] = {}
    for instance in instances:
        add_instance(counts, instance)
        workflows[instance.id] = instance.workflow_id or ""
    for stage in stages:
        add_stage(counts, stage, workflows[stage.instance_id])
    return counts
