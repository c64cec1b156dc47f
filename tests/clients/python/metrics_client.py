"""Reads /metrics as Prometheus does, in both formats. ADMIN is the address of the API."""

import os
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# What Prometheus 3 asks for.
BOTH = f"{OPENMETRICS};q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4"


def scrape(accept):
    request = urllib.request.Request(f"{os.environ['ADMIN']}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(families):
    """Labels and values of each sample by its name."""
    found = {}
    for family in families:
        assert family.documentation and family.type != "unknown", family
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def check_histograms(found):
    histograms = [name.removesuffix("_bucket") for name in found if name.endswith("_bucket")]
    assert len(histograms) == 5, histograms
    for name in histograms:
        series = {}
        for labels, value in found[f"{name}_bucket"].items():
            bound = float(dict(labels)["le"])
            rest = tuple(label for label in labels if label[0] != "le")
            series.setdefault(rest, []).append((bound, value))
        for labels, buckets in series.items():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts) and len(counts) == 18, (name, labels, counts)
            assert counts[-1] == found[f"{name}_count"][labels], (name, labels)
            assert found[f"{name}_sum"][labels] >= 0


def main():
    kind, text = scrape("text/plain")
    assert kind == "text/plain; version=0.0.4; charset=utf-8", kind
    found = samples(read_text(text))
    check_histograms(found)
    kind, text = scrape(BOTH)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind
    # The parser of OpenMetrics is strict: order, suffixes, histograms, the end.
    same = samples(read_openmetrics(text))
    assert same.keys() == found.keys(), same.keys() ^ found.keys()
    check_histograms(same)
    kinds = {dict(labels)["kind"] for labels in found["pooler_query_duration_seconds_count"]}
    assert {"select", "insert", "update", "txn"} <= kinds, kinds
    calls = {dict(labels)["fingerprint"]: value for labels, value in found["pooler_fingerprint_calls_total"].items()}
    assert "other" in calls and 1 < len(calls) <= 7, calls
    assert sum(calls.values()) == sum(found["pooler_query_duration_seconds_count"].values())
    summaries = {dict(labels)["fingerprint"]: dict(labels)["summary"] for labels in found["pooler_fingerprint_info"]}
    assert summaries.keys() == calls.keys() - {"other"}, summaries
    assert any("pgbench" in summary for summary in summaries.values()), summaries
    reasons = {dict(labels)["reason"]: value for labels, value in found["pooler_own_errors_total"].items()}
    assert reasons == {"query_wait_timeout": 1}, reasons
    print("clients=1")


main()
