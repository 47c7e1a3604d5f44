#!/usr/bin/env python3
"""The report of a run of run.py as Markdown; alone: `python3 bench/report.py build-bench/results.json`."""

import json
import statistics
import sys

LABELS = {"floor": "floor (epoll, canned)", "nginx": "nginx (proxy_cache, sendfile)", "varnish": "Varnish (malloc)",
          "uring": "**Yatagarasu, uring**", "portable": "**Yatagarasu, portable**"}
# working set: (figure, peer, "most" or "least", bound)
TARGETS = {
    "1 KiB": [("server_us", "nginx", "most", 0.6)],
    "16 KiB": [("server_us", "nginx", "most", 0.8)],
    "100 KiB": [("server_us", "nginx", "most", 1.0)],
    "1 MiB": [("per_second", "nginx", "least", 1.4)],
    "10 MiB": [("per_second", "nginx", "least", 1.3), ("per_second", "varnish", "least", 0.9)],
}
FIGURES = {"server_us": "server CPU", "per_second": "requests/s"}
MIB = 1 << 20


def median(rounds, figure):
    return statistics.median(r[figure] for r in rounds)


def ratios(rounds, peer, figure):
    return [a[figure] / b[figure] for a, b in zip(rounds, peer)]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def number(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def hits_table(working_set):
    rounds = working_set["rounds"]
    nginx = rounds.get("nginx")
    lines = [f"### {working_set['name']}", "",
             "| server | server CPU µs | client's | both | requests/s | p50 µs | p99 µs | CPU / nginx's | requests/s / nginx's |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for name, own in rounds.items():
        cells = [number(median(own, figure)) for figure in
                 ("server_us", "client_us", "both_us", "per_second", "p50_us", "p99_us")]
        cells += [spread(ratios(own, nginx, figure)) if nginx and name != "nginx" else ""
                  for figure in ("server_us", "per_second")]
        lines.append(f"| {LABELS[name]} | " + " | ".join(cells) + " |")
    lines.append("")
    if working_set["origin_requests"]:
        lines += [f"{working_set['origin_requests']} requests reached the origin: not only hits.", ""]
    return lines


def target_lines(results):
    for working_set in results["sets"]:
        rounds = working_set["rounds"]
        for figure, peer, sense, bound in TARGETS.get(working_set["name"], []):
            for name in ("uring", "portable"):
                if name not in rounds or peer not in rounds:
                    continue
                values = ratios(rounds[name], rounds[peer], figure)
                met = statistics.median(values) <= bound if sense == "most" else statistics.median(values) >= bound
                yield (f"| {working_set['name']}, {name} | {FIGURES[figure]} / {peer}'s | at {sense} {bound} | "
                       f"{spread(values)} | {'reached' if met else '**missed**'} |")


def share_bound(cold, own):
    """The share of the chunks that must be on disk 10 s later."""
    fio = statistics.median(cold["fio_bytes_per_s"])
    if fio >= (1 << 30) / own["seconds"]:
        return 0.99
    return min(0.99, 0.9 * (fio * own["seconds"] + 256 * MIB) / (1 << 30))


def cold_target_lines(cold):
    for name in ("uring", "portable"):
        own, nginx = cold["rounds"].get(name), cold["rounds"].get("nginx")
        if not own or not nginx:
            continue
        for figure, label in (("seconds", "time"), ("cpu_s", "server CPU"), ("cpu_with_writes_s", "CPU, writes too")):
            values = [a[figure] / b["cpu_s" if figure != "seconds" else figure] for a, b in zip(own, nginx)]
            met = statistics.median(values) <= 1.0
            yield (f"| 1 GiB cold, {name} | {label} / nginx's | at most 1.0 | {spread(values)} | "
                   f"{'reached' if met else '**missed**'} |")
        shares = [r["share"] for r in own]
        met = all(r["share"] >= share_bound(cold, r) for r in own)
        bound = min(share_bound(cold, r) for r in own)
        yield (f"| 1 GiB cold, {name} | share on disk 10 s later | at least {bound:.2f} | {spread(shares)} | "
               f"{'reached' if met else '**missed**'} |")


def cold_table(cold):
    lines = ["### 1 GiB, cold, from nginx as origin", "",
             "fio's sequential write before and after: " +
             ", ".join(f"{rate / MIB:,.0f} MiB/s" for rate in cold["fio_bytes_per_s"]) + ".", "",
             "| server | seconds | server CPU s | with the rest of the writes | on disk 10 s later | items dropped |",
             "|---|--:|--:|--:|--:|--:|"]
    for name, own in cold["rounds"].items():
        cells = [f"{median(own, 'seconds'):.2f}", f"{median(own, 'cpu_s'):.2f}"]
        if name == "nginx":
            cells += ["(page cache)", "", ""]
        else:
            cells += [f"{median(own, 'cpu_with_writes_s'):.2f}", f"{100 * median(own, 'share'):.1f} %",
                      f"{median(own, 'drops'):.0f}"]
        lines.append(f"| {LABELS[name]} | " + " | ".join(cells) + " |")
    return lines + [""]


def markdown(results):
    m = results["machine"]
    lines = [f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}; commit {m['commit']}, "
             f"{m['date']}; {results['seconds']} s each, {results['minutes']} minutes in all. Medians over the rounds; "
             "ratios are medians of the rounds' own ratios, with the smallest and largest.", "",
             "| what | against | target | measured | |", "|---|---|--:|--:|---|"]
    lines += list(target_lines(results)) + (list(cold_target_lines(results["cold"])) if results["cold"] else [])
    lines.append("")
    for working_set in results["sets"]:
        lines += hits_table(working_set)
    if results["cold"]:
        lines += cold_table(results["cold"])
    return "\n".join(lines)


def replace_in(document, results):
    begin, end = "<!-- results: bench/run.py --doc -->\n", "<!-- end of results -->"
    with open(document) as f:
        before, rest = f.read().split(begin)
    with open(document, "w") as f:
        f.write(before + begin + "\n" + markdown(results) + "\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    with open(sys.argv[1]) as results_file:
        print(markdown(json.load(results_file)))
