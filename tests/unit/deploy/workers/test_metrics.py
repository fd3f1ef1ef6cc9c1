"""One answer to Prometheus with the metrics of all workers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.workers.metrics import WORKER_UP, merged


def metrics_of(requests: dict[str, int], waiting: int) -> str:
    """Metrics of a worker; a path may have anything in it."""
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests, by path.", ("path",), registry=registry)
    for path, count in requests.items():
        counter.labels(path).inc(count)
    Gauge("waiting", "Requests in progress.", registry=registry).set(waiting)
    return generate_latest(registry).decode()


def test_each_sample_names_its_worker_and_each_metric_comes_once() -> None:
    odd = 'a{b="c"} 7\n# HELP requests_total x'
    text = merged({0: metrics_of({}, 1), 1: metrics_of({odd: 2, "/": 3}, 4), 2: None, 3: metrics_of({"/": 5}, 6)})
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    assert text.count("# TYPE requests_total counter") == 1
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name != "requests_created"
    }
    expected: dict[tuple[object, ...], float] = {
        ("requests_total", ("path", odd), ("worker", "1")): 2,
        ("requests_total", ("path", "/"), ("worker", "1")): 3,
        ("requests_total", ("path", "/"), ("worker", "3")): 5,
    }
    expected |= {(WORKER_UP, ("worker", str(number))): up for number, up in enumerate((1, 1, 0, 1))}
    expected |= {("waiting", ("worker", str(number))): waiting for number, waiting in ((0, 1), (1, 4), (3, 6))}
    assert found == expected
