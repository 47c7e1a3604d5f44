#!/bin/sh
# Makes the static library: one relocatable object of all layers, in which only what begins with yata_ is still global.
# usage: static.sh OUTPUT CC OBJCOPY AR LAYER_ARCHIVE...
set -eu
output=$1 compiler=$2 objcopy=$3 ar=$4
shift 4
object=${output%.a}.o
# shellcheck disable=SC2086 # the compiler may have arguments
$compiler -r -nostdlib -o "$object" -Wl,--whole-archive "$@" -Wl,--no-whole-archive
"$objcopy" --wildcard --keep-global-symbol='yata_*' "$object"
rm -f "$output"
"$ar" rcs "$output" "$object"
