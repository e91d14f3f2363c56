#!/usr/bin/env bash
# Half an hour of sessions that start and end, on real servers: fails if the recorder's memory,
# goroutines, files or disk use grew. DURATION sets the length, RATE the sessions per minute; other
# arguments go to the program (-h lists them).
source "$(dirname "$0")/env.sh"
scripts/setup.sh
scripts/build.sh stack loadgen soak
args=()
[ -z "${DURATION:-}" ] || args+=(-duration "$DURATION")
[ -z "${RATE:-}" ] || args+=(-rate "$RATE")
exec build/bin/soak "${args[@]}" "$@"
