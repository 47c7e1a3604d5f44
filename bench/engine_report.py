#!/usr/bin/env python3
"""The report of a run of engine.py as Markdown; alone: `python3 bench/engine_report.py build-bench/engine.json`."""

import json
import statistics
import sys

BEGIN, END = "<!-- engine results: bench/engine.py --doc -->\n", "<!-- end of engine results -->"
FIGURES = [("ops_s", "ops/s"), ("p50_us", "p50 µs"), ("p99_us", "p99 µs"), ("p999_us", "p99.9 µs"), ("cpu_us", "CPU µs")]
LABELS = {"uring": "**engine, uring**", "portable": "**engine, portable**"}


def number(value):
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def median(runs, figure):
    values = [run[figure] for run in runs if figure in run]
    return statistics.median(values) if values else None


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def spread_of(runs, figure):
    values = [run[figure] for run in runs if figure in run]
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})" if values else ""


def ratios(ours, theirs, figure):
    return [a[figure] / b[figure] for a, b in zip(ours, theirs)]


def table(rounds, first="ops_s"):
    lines = ["| | " + " | ".join(label for _, label in FIGURES) + " |", "|---|" + "--:|" * len(FIGURES)]
    for name, runs in rounds.items():
        cells = [spread_of(runs, figure) if figure == first else number(median(runs, figure)) for figure, _ in FIGURES]
        lines.append(f"| {LABELS.get(name, name)} | " + " | ".join(cells) + " |")
    return lines + [""]


class Targets:
    def __init__(self):
        self.lines = ["| work | against | target | measured | |", "|---|---|--:|--:|---|"]

    def add(self, work, against, target, measured, met):
        self.lines.append(f"| {work} | {against} | {target} | {measured} | {'reached' if met else '**missed**'} |")

    def ratio(self, work, against, rounds, ours, theirs, least, figure="ops_s"):
        values = ratios(rounds[ours], rounds[theirs], figure)
        self.add(work, against, f"at least {least}", spread(values), statistics.median(values) >= least)

    def most(self, work, against, values, most, unit=""):
        self.add(work, against, f"at most {most}{unit}", spread(values) + unit, statistics.median(values) <= most)


def targets_reads(targets, reads):
    for depth, rounds in reads.items():
        targets.ratio(f"4 KiB get, depth {depth}, uring", "gets/s / fio io_uring", rounds, "uring", "fio io_uring", 0.9)
        targets.ratio(f"4 KiB get, depth {depth}, portable", "gets/s / bare pool", rounds, "portable", "bare pool", 0.9)
        if int(depth) >= 64:
            targets.ratio(f"4 KiB get, depth {depth}, portable", "gets/s / fio psync", rounds, "portable", "fio psync", 0.9)


def targets_pinned(targets, rounds):
    targets.ratio("one core, depth 64, uring", "gets/s / fio io_uring", rounds, "uring", "fio io_uring", 0.9)
    targets.ratio("one core, depth 64, portable", "gets/s / fio psync", rounds, "portable", "fio psync", 0.9)
    for figure, label, above, below in (("ops_s", "gets/s", "uring", "portable"), ("cpu_us", "CPU per get", "portable", "uring")):
        engines = {"uring": "fio io_uring", "portable": "fio psync"}
        ours = ratios(rounds[above], rounds[below], figure)
        fio = ratios(rounds[engines[above]], rounds[engines[below]], figure)
        values = [a / b for a, b in zip(ours, fio)]
        targets.add(f"one core, depth 64, {above} : {below} in {label}", f"fio's {statistics.median(fio):.2f} : 1", "at least 0.9x",
                    f"{statistics.median(ours):.2f} : 1, {spread(values)}x", statistics.median(values) >= 0.9)


def targets_objects(targets, rounds):
    for ours, theirs in (("uring", "fio io_uring"), ("portable", "fio psync")):
        targets.ratio(f"10 MiB get, 8 chunks at a time, {ours}", f"MiB/s / {theirs}", rounds, ours, theirs, 0.9, "mib_s")


def targets_put(targets, put):
    for item_bytes, rounds in put.items():
        what = f"put of {int(item_bytes) >> 10:,} KiB"
        for driver in ("uring", "portable"):
            targets.ratio(f"{what}, {driver}", "MiB/s / fio write", rounds, driver, "fio io_uring", 0.85, "mib_s")
            targets.most(f"{what}, {driver}", "bytes written / bytes put, by the kernel",
                         [run["amplification_by_kernel"] for run in rounds[driver]], 1.05)


def targets_durable(targets, rounds):
    for driver, theirs in (("uring", "fio io_uring"), ("portable", "fio psync")):
        targets.ratio(f"put + flush, {driver}", f"ops/s / {theirs} write + fdatasync", rounds, driver, theirs, 1.0)


def targets_mix(targets, mix):
    for driver in ("uring", "portable"):
        values = ratios(mix[f"{driver}, with puts and eviction"], mix[f"{driver}, gets alone"], "p99_us")
        targets.most(f"90/10 mix, {driver}", "p99 of gets / alone", values, 3)


def targets_memory(targets, memory):
    for name, runs in memory.items():
        targets.most(f"memory hit of 4 KiB, {name}", "ns", [run["hit_ns"] for run in runs], 250)
        targets.most(f"memory hit of 4 KiB, {name}", "allocations", [run["allocations"] for run in runs], 0)


def targets_many(targets, many):
    index = many["index"]
    targets.add(f"index, {index['items']:,.0f} items of 512 bytes", "bytes per item, all in", "at most 16",
                f"{index['bytes_per_item']:.2f} ({index['all_memory_per_item']:.2f} with the tables of segments)",
                index["bytes_per_item"] <= 16)
    found = min(index["in_index_percent"], index["read_well_percent"])
    targets.add("the same", "found", "at least 99 %", f"{found:.2f} %", found >= 99)
    for name, runs in many["open"].items():
        bound = 3 if "kill" in name else 1
        targets.most(f"open, {name}", "s until all is found", [run["all_found_ms"] / 1e3 for run in runs], bound)
        gets = min(run["gets_meanwhile"] for run in runs)
        targets.add(f"open, {name}", "gets answered meanwhile", "some", f"{gets:,.0f}, the slowest in "
                    f"{max(run['worst_get_us'] for run in runs) / 1e3:.1f} ms", gets > 0)


def targets_trace(targets, trace):
    worst = max(run["ours"] / run["S3-FIFO"] for runs in trace.values() for run in runs)
    targets.add("hit ratio, memory tier, both traces", "misses / published S3-FIFO's, the worst size", "at most 1", f"{worst:.3f}",
                worst <= 1)
    for theirs, most in (("W-TinyLFU", 1.02), ("LRU", 1.005)):
        worst = max(run["ours"] / run[theirs] for run in trace["adaptsize"])
        targets.add("hit ratio, memory tier, adaptsize", f"misses / {theirs}'s, the worst size", f"at most {most}", f"{worst:.3f}",
                    worst <= most)


def targets_disktrace(targets, trace):
    for name, runs in trace.items():
        worst = max(run["misses"] / run["LRU"] for run in runs if run["rule"] == "always")
        targets.add(f"hit ratio, disk tier, {name}, always", "misses / LRU's, the worst size", "at most 1.01", f"{worst:.3f}",
                    worst <= 1.01)


def section_reads(reads):
    lines = ["### 4 KiB random gets", "",
             "Items of 4,096 bytes with 32-byte keys; a get is one read of 8 KiB (two blocks), and so are fio's and the pool's.", ""]
    for depth, rounds in reads.items():
        lines += [f"Depth {depth}:", ""] + table(rounds)
    return lines


def section_objects(rounds):
    lines = ["### Objects of 10 MiB in chunks of 256 KiB, 8 chunks at a time", "",
             "Operations of the engine are objects, fio's are reads of 260 KiB (a chunk with its header).", "",
             "| | MiB/s | ops/s | p50 µs | p99 µs | p99.9 µs | CPU µs per MiB |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, runs in rounds.items():
        per_mib = statistics.median(run["cpu_us"] * run["ops_s"] / run["mib_s"] for run in runs)
        cells = [spread_of(runs, "mib_s")] + [number(median(runs, f)) for f in ("ops_s", "p50_us", "p99_us", "p999_us")]
        lines.append(f"| {LABELS.get(name, name)} | " + " | ".join(cells + [number(per_mib)]) + " |")
    return lines + [""]


def section_put(put):
    lines = ["### Puts past one full turn of the device", ""]
    for item_bytes, rounds in put.items():
        lines += [f"Items of {int(item_bytes) >> 10:,} KiB; the latency is that of the call, its waiting included:", "",
                  "| | MiB/s | ops/s | p50 µs | p99 µs | CPU µs | written / put, by the kernel |", "|---|--:|--:|--:|--:|--:|--:|"]
        for name, runs in rounds.items():
            cells = [spread_of(runs, "mib_s")] + [number(median(runs, f)) for f in
                                                  ("ops_s", "p50_us", "p99_us", "cpu_us", "amplification_by_kernel")]
            lines.append(f"| {LABELS.get(name, name)} | " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def section_many(many):
    lines = ["### Opening with many small items", "",
             "| | s until it serves | s until all is found | gets answered meanwhile | slowest of them, ms |", "|---|--:|--:|--:|--:|"]
    for name, runs in many["open"].items():
        lines.append(f"| {name} | {median(runs, 'service_ms') / 1e3:.3f} | {spread([r['all_found_ms'] / 1e3 for r in runs])} | "
                     f"{median(runs, 'gets_meanwhile'):,.0f} | {max(r['worst_get_us'] for r in runs) / 1e3:.1f} |")
    return lines + [""]


def section_trace(trace):
    lines = ["### Misses of the memory tier's order of eviction", "", "By object bytes, without overhead.", "",
             "| trace, size | ours | S3-FIFO | LRU | SIEVE | W-TinyLFU |", "|---|--:|--:|--:|--:|--:|"]
    for name, runs in trace.items():
        for run in runs:
            cells = [f"{run[policy]:,.0f}" for policy in ("ours", "S3-FIFO", "LRU", "SIEVE", "W-TinyLFU")]
            lines.append(f"| {name}, {run['mib']:,.0f} MiB | " + " | ".join(cells) + " |")
    return lines + [""]


def section_disktrace(trace):
    rules = ("always", "second", "budget")
    lines = ["### Misses of the disk tier, by admission rule", "",
             "The engine itself on a simulated device whose segments come to the size given; written is everything that goes to the "
             "device, served is what hits brought. The budget is a quarter of the bytes asked for.", "",
             "| trace, size (segments) | LRU | always | second request | write budget | written per byte served: always | second | budget |",
             "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for name, runs in trace.items():
        for mib in sorted({run["mib"] for run in runs}):
            by_rule = {run["rule"]: run for run in runs if run["mib"] == mib}
            first = by_rule["always"]
            cells = [f"{first['LRU']:,.0f}"] + [f"{by_rule[rule]['misses']:,.0f}" for rule in rules]
            cells += [f"{by_rule[rule]['written_per_served']:.2f}" for rule in rules]
            lines.append(f"| {name}, {mib:,.0f} MiB ({first['segments']:.0f} of {first['segment_mib']:.0f} MiB) | " +
                         " | ".join(cells) + " |")
    return lines + [""]


PUBLISHED = {  # work: (portable's latency in ms, its rate, uring's latency, its rate)
    "4 KiB read": (0.5, 8000, 0.2, 20000), "10 MiB read": (10, 100, 8, 125), "write + fsync": (5, 200, 3, 333)}


def section_published(published):
    lines = ["### The expectations that this project began with", "",
             "Published for such a pair of backends; the number in flight follows from them (latency times rate): 4 reads, one object, "
             "one write. Confirmed means that uring is faster than portable by at least as much as was said.", "",
             "| work | | portable | uring | uring : portable | CPU saved | |", "|---|---|--:|--:|--:|--:|---|"]
    for work, (slow_ms, slow_rate, fast_ms, fast_rate) in PUBLISHED.items():
        rounds = published[work]
        lines.append(f"| {work} | published | {slow_ms} ms, {slow_rate:,}/s | {fast_ms} ms, {fast_rate:,}/s | "
                     f"{fast_rate / slow_rate:.2f} | 25-35 % | |")
        ratio = ratios(rounds["uring"], rounds["portable"], "ops_s")
        saved = [100 * (1 - r) for r in ratios(rounds["uring"], rounds["portable"], "cpu_us")]
        cells = [f"{median(rounds[d], 'p50_us') / 1e3:.2f} ms, {number(median(rounds[d], 'ops_s'))}/s" for d in ("portable", "uring")]
        faster = statistics.median(ratio) >= fast_rate / slow_rate
        cheaper = statistics.median(saved) >= 25
        verdict = f"speed {'confirmed' if faster else 'refuted'}, CPU {'confirmed' if cheaper else 'refuted'}"
        lines.append(f"| | measured | {cells[0]} | {cells[1]} | {spread(ratio)} | {statistics.median(saved):.0f} "
                     f"({min(saved):.0f}-{max(saved):.0f}) % | {verdict} |")
    return lines + [""]


SECTIONS = {  # part: (its lines of targets, its tables)
    "reads": (targets_reads, section_reads),
    "pinned": (targets_pinned, lambda r: ["### Pinned to one core, depth 64", ""] + table(r)),
    "objects": (targets_objects, section_objects),
    "put": (targets_put, section_put),
    "durable": (targets_durable, lambda r: ["### Put and flush, one at a time", "",
                                            "fio writes 8 KiB, as the engine does for an item of 4 KiB with its header, with a "
                                            "fdatasync after each.", ""] + table(r)),
    "mix": (targets_mix, lambda r: ["### Nine gets to one put, eviction running, depth 16", ""] + table(r)),
    "memory": (targets_memory, None),
    "many": (targets_many, section_many),
    "trace": (targets_trace, section_trace),
    "disktrace": (targets_disktrace, section_disktrace),
    "published": (None, section_published),
}


def markdown(results):
    m, targets, sections = results["machine"], Targets(), []
    for name, (aim, section) in SECTIONS.items():
        part = results["parts"].get(name)
        if not part:
            continue
        if aim:
            aim(targets, part)
        if section:
            sections += section(part)
    lines = [f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']}; commit {m['commit']}, {m['date']}. "
             "Medians over the rounds; ratios are medians of the rounds' own ratios; in brackets the smallest and the largest.", ""]
    return "\n".join(lines + targets.lines + [""] + sections)


def replace_in(document, results):
    with open(document) as f:
        before, rest = f.read().split(BEGIN)
    with open(document, "w") as f:
        f.write(before + BEGIN + "\n" + markdown(results) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    with open(sys.argv[1]) as results_file:
        print(markdown(json.load(results_file)))
