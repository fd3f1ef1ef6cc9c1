"""The table of all rounds."""

from statistics import median

from deploy.bench.figures import Figures


def print_table(rows: list[Figures]) -> None:
    """One line per kind of round: medians over its rounds."""
    names = list(dict.fromkeys(row.name for row in rows))
    print(f"{'round':34} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8}   CPU ms per request, by process")
    for name in names:
        group = [row for row in rows if row.name == name]
        rate = median(row.per_second for row in group)
        p50, p99 = (median(row.quantile(q) for row in group) for q in (0.5, 0.99))
        shares = {key: 1000 * median(row.cpu.get(key, 0.0) for row in group) for key in group[0].cpu}
        cpu = "  ".join(f"{key} {value:.2f}" for key, value in shares.items())
        print(f"{name:34} {rate:8.0f} {p50:8.2f} {p99:8.2f}   {cpu}")


def print_ratios(rows: list[Figures], name: str, other: str) -> None:
    """Throughput of one kind of round over another of the same run, round by round."""
    pairs = zip(
        (row.per_second for row in rows if row.name == name),
        (row.per_second for row in rows if row.name == other),
        strict=True,
    )
    ratios = sorted(a / b for a, b in pairs)
    print(f"{name} : {other} = {median(ratios):.2f} (min {ratios[0]:.2f}, max {ratios[-1]:.2f})")
