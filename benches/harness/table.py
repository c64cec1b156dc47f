"""Turns samples into the table that is printed. Measures nothing."""

from statistics import median

from load import Sample
from workloads import Goal, Holding, Workload

# The two columns that the ratio is made of.
OURS, THEIRS = "pooler", "pgbouncer"
MEASURES = (
    ("tps", "tps", "{:,.0f}"),
    ("p50", "p50 ms", "{:.3f}"),
    ("p99", "p99 ms", "{:.3f}"),
    ("cpu", "CPU us/tx", "{:.1f}"),
)


def workload_rows(workload: Workload, names: list[str], samples: dict[str, list[Sample]]) -> list[list[str]]:
    rows = []
    for key, label, form in MEASURES:
        medians = {}
        for name in names:
            values = [getattr(sample, key) for sample in samples.get(name, ())]
            if values and None not in values:
                medians[name] = median(values)
        if not medians:
            continue
        cells = [form.format(medians[name]) if name in medians else "-" for name in names]
        rows.append([workload.title if not rows else "", label, *cells, *_verdict(medians, workload.goals.get(key))])
    return rows


def memory_row(names: list[str], resident: dict[str, int]) -> list[str]:
    cells = [f"{resident[name] / (1 << 20):.1f}" if resident.get(name) else "-" for name in names]
    return ["resident memory after these workloads", "MiB", *cells, *_verdict(resident, None)]


def holding_row(holding: Holding, names: list[str], values: dict[str, float]) -> list[str]:
    cells = [f"{values[name]:,.0f}" if name in values else "-" for name in names]
    ratio, goal = _verdict(values, None)
    if holding.most_bytes is not None:
        goal = f"<= {holding.most_bytes:,}"
        if OURS in values:
            goal += " ok" if values[OURS] <= holding.most_bytes else " MISSED"
    elif holding.clients and OURS in values:
        goal = "all answer ok"
    return [holding.title, "bytes", *cells, ratio, goal]


def _verdict(values: dict[str, float], goal: Goal | None) -> list[str]:
    if OURS not in values or not values.get(THEIRS):
        return ["-", str(goal) if goal else ""]
    ratio = values[OURS] / values[THEIRS]
    if goal is None:
        return [f"{ratio:.2f}", ""]
    return [f"{ratio:.2f}", f"{goal} {'ok' if goal.met(ratio) else 'MISSED'}"]


def render(names: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that also lines up as plain text: names to the left, numbers to the right."""
    head = ["workload", "measure", *names, "ours/pgb", "goal"]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    left = {0, 1, len(head) - 1}

    def line(cells: list[str]) -> str:
        padded = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if column in left else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])
