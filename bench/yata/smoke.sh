#!/bin/sh
# Every command of yata-bench once, small, so that none rots: each checks what it reads. usage: smoke.sh PROGRAM DRIVER
set -e
program=$1
driver=$2
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/yata-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
run() {
    command=$1
    shift
    if ! "$program" "$command" --json --io "$driver" --seconds 0.2 --memory 32 --file "$folder/$command" "$@" >"$folder/out" 2>"$folder/err"; then
        cat "$folder/err"
        grep -q 'no such driver here' "$folder/err" && exit 77
        exit 1
    fi
    python3 -c 'import json, sys
for line in sys.stdin: json.loads(line)' <"$folder/out"
}
on_filled() {
    run "$@" --file "$folder/fill"
}
run fill --size 48 --items 5000
on_filled get --size 48 --items 5000 --depth 16
on_filled index --size 48 --items 5000
on_filled open --size 48 --items 5000
on_filled open --size 48 --items 5000 --kill
on_filled pool --bytes 8192 --depth 4
run fill --size 48 --bytes 262144 --items 100
on_filled object --size 48 --bytes 262144 --items 100 --depth 8
run put --size 40
run put --size 100 --bytes 1048576
run durable --size 40
run mix --size 40 --depth 8
run memory --threads 2
awk 'BEGIN { for (i = 0; i < 3000; i++) print i % 700, 100000 }' >"$folder/trace"
run trace --trace "$folder/trace" --share 0.5
run disktrace --trace "$folder/trace" --share 0.6
