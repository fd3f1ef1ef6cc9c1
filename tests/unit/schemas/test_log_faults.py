from prometheus_client import CollectorRegistry

from schemas.log_faults import LogFaults
from schemas.log_integrity import LogFault


def test_a_fault_is_shown_until_nobody_has_it_any_more() -> None:
    registry = CollectorRegistry()
    faults = LogFaults(registry)

    def shown() -> set[tuple[str, ...]]:
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        assert all(sample.value == 1 for sample in samples)
        return {tuple(sample.labels.values()) for sample in samples}

    assert shown() == set()
    faults.show("projector", 3, LogFault("cut", "events", 3, "it is short"))
    faults.show("publisher", 3, LogFault("cut", "events", 3, "it is short"))
    faults.show("publisher", 4, LogFault("remade", "events", -1, "it is new"))
    assert shown() == {("events", "3", "cut"), ("events", "4", "remade")}
    faults.clear("projector", 3)
    faults.clear("projector", 3)
    faults.show("publisher", 4, LogFault("gap", "events", 4, "it has a hole"))
    assert shown() == {("events", "3", "cut"), ("events", "4", "gap")}
    assert faults.stands("publisher", 3)
    assert not faults.stands("projector", 3)
    faults.clear("publisher", 3)
    faults.clear("publisher", 4)
    assert shown() == set()
