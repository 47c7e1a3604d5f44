#!/usr/bin/env python3
"""The structured fields parser against the HTTP working group's vectors (structured-fields), every case of them.

usage: structured_vectors.py structured_stdin source_root

Exit status 77: the vectors are not there.
"""
import base64
import decimal
import json
import pathlib
import subprocess
import sys


def expected_value(value):
    """In the terms of structured_stdin."""
    if isinstance(value, bool):
        return ["boolean", int(value)]
    if isinstance(value, int):
        return ["integer", value]
    if isinstance(value, decimal.Decimal):
        return ["decimal", int(value * 1000)]
    if isinstance(value, str):
        return ["string", value.encode().hex()]
    if isinstance(value, list):
        return ["inner", [["", expected_value(v), expected_parameters(p)] for v, p in value]]
    kind, text = value["__type"], value["value"]
    if kind == "binary":
        return ["bytes", base64.b32decode(text).hex()]
    if kind == "displaystring":
        return ["display", text.encode().hex()]
    return [kind, text if kind == "date" else text.encode().hex()]


def expected_parameters(parameters):
    return [[key.encode().hex(), expected_value(value)] for key, value in parameters]


def expected_field(kind, field):
    if kind == "item":
        return [["", expected_value(field[0]), expected_parameters(field[1])]]
    if kind == "list":
        return [["", expected_value(v), expected_parameters(p)] for v, p in field]
    return [[key.encode().hex(), expected_value(v), expected_parameters(p)] for key, (v, p) in field]


def last_counts(pairs):
    """Repeated keys: the first place, the last value."""
    kept = {}
    for key, *rest in pairs:
        kept[key] = rest
    return [[key, *rest] for key, rest in kept.items()]


def merged_value(value):
    return [value[0], [merged_member(m) for m in value[1]]] if value[0] == "inner" else value


def merged_member(member):
    return [member[0], merged_value(member[1]), last_counts(member[2])]


def merged(kind, members):
    members = [merged_member(m) for m in members]
    return last_counts(members) if kind == "dictionary" else members


def main():
    program, root = sys.argv[1], pathlib.Path(sys.argv[2])
    files = sorted((root / ".." / "shared" / "vectors" / "structured-fields").glob("*.json"))
    if not files:
        print("../shared/vectors/structured-fields is absent: skipped")
        return 77
    cases = [(file.name, case) for file in files for case in json.loads(file.read_text(), parse_float=decimal.Decimal)]
    frames = b""
    for _, case in cases:
        raw = ", ".join(case["raw"]).encode()
        frames += f"{case['header_type']} {len(raw)}\n".encode() + raw
    done = subprocess.run([program], input=frames, capture_output=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), (len(answers), len(cases))
    failed = 0
    for (file, case), got in zip(cases, answers):
        kind = case["header_type"]
        got = None if got is None else merged(kind, got)
        want = None if case.get("must_fail") else expected_field(kind, case["expected"])
        if got != want and not (got is None and case.get("can_fail")):
            print(f"{file}: {case['name']}: {case['raw']}\n    want {want}\n    got  {got}")
            failed += 1
    print(f"{len(cases)} cases, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
