#!/usr/bin/env python3
"""Shows what the crash simulator finds: breaks the engine in one way after the other, in a copy of the tree, and counts the seeds until
that is noticed; what only damage on the medium brings out is left to test_media. A mutation whose text is not in the source any more is an error: it has to follow the code.

tests/mutations/run.py [-n SEEDS] [NAME...]
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = "src/cache/"

# name: [(file, what stands there, what is put in its place), ...]
MUTATIONS = {
    "a flush answers before its sync": [
        ("flush.c", "    if (flush->result < 0 || flush->rides) {", "    if (true) {")],
    "a flush rides on a write that does not sync": [
        ("write.c", "(write->syncs ? io_file_write_sync : io_file_write)", "io_file_write")],
    "a flush rides on a write with earlier ones under way": [
        ("flush.c", "    if (device->tickets.next != &write->ticket)\n        return false;", "")],
    "a flush rides on a sync that came before the last write was through": [
        ("flush.c", "    if (device->tickets.next != &write->ticket)\n        return false; /* an earlier one is not through */\n    uint64_t next = device->next_ticket;\n    if (write->ticket.next != &device->tickets)\n        next = CONTAINER_OF(write->ticket.next, struct write, ticket)->number;\n", "    uint64_t next = UINT64_MAX - 1;\n    if (list_empty(&device->flushes) || flush_of(device->flushes.next)->barrier <= write->number)\n        return false;\n")],
    "a flush that rides does not learn that it failed": [
        ("flush.c", "            flush_of(node)->result = error;\n}\n\n/* Under lock: sends", "            ;\n}\n\n/* Under lock: sends")],
    "a flush rides with later writes to wait for": [
        ("flush.c", "        if (flush_of(node)->barrier > next)\n            break;\n", "")],
    "a flush does not wait for the writes before it": [
        ("flush.c", "held ? UINT64_MAX : device->next_ticket;", "held ? UINT64_MAX : 0;")],
    "a flush does not wait for what has no place yet": [
        ("flush.c", "bool held = !list_empty(&device->waiting);", "bool held = false;")],
    "a flush does not learn of failed writes": [
        ("flush.c", "        fail(&device->flushes, write);", "        ;")],
    "a segment is given out again without having been declared dead": [
        ("reclaim.c", "    device_super_write(&reclaim->super);", "    declared(&reclaim->super, 0);")],
    "dead segments are read at recovery": [
        ("starting.c", "generation >= device->super.dead_below && generation < device->first_own_generation", "generation > 0 && generation < device->first_own_generation")],
    "the superblock is not synced": [
        ("device.c", "    io_file_write_sync(device->home->loop", "    io_file_write(device->home->loop")],
    "only one copy of the superblock is written at open": [
        ("starting.c", "    opening->supers_left = SUPERBLOCK_COPIES;\n    opening->super.done = both_written;",
         "    opening->supers_left = 1;\n    opening->super.done = both_written;")],
    "the snapshot's mark is not cleared": [
        ("starting.c", "    device->super.snapshot_mark = 0;\n", "")],
    "a stale snapshot is believed": [
        ("snapshot.c", "sum != mark || ", ""), ("snapshot.c", "state_checksum(from.ptr, from.len, seed) != mark", "from.len == 0"),
        ("starting.c", "    device->super.snapshot_mark = 0;\n", "    device->super.snapshot_mark = 1;\n")],
    "recovery goes from the newest segment to the oldest": [
        ("starting.c", "return left < right ? -1 : left > right;", "return left > right ? -1 : left < right;")],
    "recovery passes over remove records": [
        ("recovery.c", "        if (there)\n            index_remove_at(device->index, row->hash, entry.place);\n", "")],
    "recovery lets an old row replace what was put since": [
        ("recovery.c", "generation) >= first)\n        return;", "generation) >= first && false)\n        return;")],
    "recovery brings back what was removed meanwhile": [
        ("recovery.c", "i < device->forgotten_count; i++", "i < device->forgotten_count && false; i++")],
    "old items are answered while recovery is under way": [
        ("reader.c", "    if (first == 0)\n        return true;\n", "    if (first < UINT64_MAX)\n        return true;\n")],
    "scan and reader ignore the generation": [
        ("rows.c", "item.generation != rows->generation || ", ""), ("reader.c", "header->generation != get->generation", "false")],
    "recovery keeps the first that it finds of a key": [
        ("recovery.c", "    entry = (struct index_entry){.place = place, .value_len = row->value_len};",
         "    if (there)\n        return;\n    entry = (struct index_entry){.place = place, .value_len = row->value_len};")],
    "a life takes up the generations of the one before": [
        ("starting.c", "device->next_generation = device->first_own_generation = device->super.generation_bound;",
         "device->next_generation = device->first_own_generation = device->super.dead_below;")],
    "a failed write does not seal its segment": [
        ("write.c", "write->failed && device->open == filling", "false && device->open == filling")],
    "a table's generation is ignored": [
        ("rows.c", " &&\n                rows->load.footer.generation == rows->generation;", ";")],
    "the payload's checksums are not looked at": [
        ("segment.c", "return read_u64(&r) == segment_checksum(seed, block, len);", "return read_u64(&r) != segment_checksum(seed, block, len) || true;")],
    "a hidden item is carried": [
        ("reclaim.c", "index_find(device->index, reclaim->hash, &now) && now.place == reclaim->old_place", "index_find(device->index, reclaim->hash, &now) || true")],
    "reclaiming leaves the entries in the index": [
        ("reclaim.c", "evicted += index_remove_at(device->index, row->hash, place_of(reclaim, row));",
         "evicted += 0;")],
    "a removed item stays in the index": [
        ("disk.c", "    device_hide(device, entry->hash);\n    if (!taken", "    if (!taken")],
    "a remove leaves no record": [
        ("errand.c", "    give(device, worker, entry);\n    flush_one", "    disk_forget(disk, key, disk_next_sequence(disk));\n    writing_destroy(entry);\n    flush_one")],
    "a purge is durable although a device is away": [
        ("errand.c", "record(device, worker, kind, key, sequence) : E_UNSUPPORTED;", "record(device, worker, kind, key, sequence) : 0;")],
    "what failed to be written is not written again": [
        ("write.c", "if (needed && !entry->again && device_takes(device))", "if (false)"),
        ("write.c", "        if (needed) {\n", "        if (needed && false) {\n")],
    "devices that lived apart keep their items": [
        ("attach.c", "lived_apart(disk, &leader) || ", "(lived_apart(disk, &leader) && false) || ")],
    "a file whose making was cut short is refused": [
        ("superblock.c", "        if (!begun || ", "        if (true || ")],
    "a flush that was held does not learn of failed writes": [
        ("flush.c", "        fail(&device->held, write);", "        ;")],
    "purge records are not read at recovery": [
        ("recovery.c", "            apply_purge(recovery, row, segment_place + row->offset);", "            ;")],
    "a segment that can't be read at open is taken for free": [
        ("probes.c", "generation < device->super.dead_below && error < 0", "generation < device->super.dead_below && error > 0")],
    "what starts empty for that is not declared dead first": [
        ("starting.c", "    opening->supers_left = SUPERBLOCK_COPIES;\n    device_super_write(&opening->super);", "    serve(opening, false);")],
    "what is older than an unread table is kept": [
        ("recovery.c", "        drop_older(device, rows->generation);", "        ;")],
    "a header with a flipped bit ends a scan": [
        ("segment.c", "        if (result == 0)\n            return true;\n        at[bit", "        if (result == 0)\n            len = 0;\n        at[bit")],
    "the newer version of a damaged superblock is believed": [
        ("superblock.c", "if (result == E_UNSUPPORTED && proves_newer(copy))", "if (result == E_UNSUPPORTED && (proves_newer(copy) || true))")],
}


def sources(to):
    files = subprocess.run(["git", "ls-files"], cwd=TOP, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, files):
        if (TOP / name).is_file() and not (TOP / name).is_symlink():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, to / name)


def caught(tree, edits, seeds):
    """The seeds until it is noticed, None if it is not; and by what."""
    originals = {}
    for name, old, new in edits:
        path = tree / CACHE / name
        text = path.read_text()
        originals.setdefault(path, text)
        if text.count(old) != 1:
            sys.exit(f"{name} has {text.count(old)} times: {old}")
        path.write_text(text.replace(old, new))
    try:
        subprocess.run(["ninja", "-C", str(tree / "build"), "tests/cache/test_crash_sim", "tests/cache/test_media"], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([tree / "build/tests/cache/test_crash_sim", "1", str(seeds)], capture_output=True, text=True)
        if done.returncode == 0 and subprocess.run([tree / "build/tests/cache/test_media", "400"], capture_output=True).returncode != 0:
            return "media", "test_media"
    finally:
        for path, text in originals.items():
            path.write_text(text)
    said = done.stdout + done.stderr
    replay = re.search(r"^replay: \S+ (\d+) 1$", said, re.M)
    if done.returncode == 0 or replay is None:
        return None, f"not in {seeds} seeds"
    why = re.search(r"(key \d+: .*|CHECK failed.*|failed: .*|ERROR   \] --- .*)", said)
    return int(replay[1]), why[1].removeprefix("ERROR   ] --- ")[:90] if why else f"signal {-done.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--seeds", type=int, default=2000)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        sources(tree)
        subprocess.run(["meson", "setup", str(tree / "build"), str(tree), "-Dbuildtype=release", "-Db_ndebug=false", "-Dbench=false"],
                       check=True, stdout=subprocess.DEVNULL)
        for name, edits in MUTATIONS.items():
            if arguments.names and name not in arguments.names:
                continue
            seeds, why = caught(tree, edits, arguments.seeds)
            missed += seeds is None
            print(f"| {name} | {seeds or '-'} | {why} |", flush=True)
    sys.exit(1 if missed else 0)


main()
