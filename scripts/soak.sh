#!/usr/bin/env bash
# Half an hour of sessions that begin and end, on real servers: it fails unless the recorder ends where it began. DURATION makes it
# longer or shorter, RATE is how many sessions begin in a minute; other arguments go to the program (-h lists them).
source "$(dirname "$0")/env.sh"
scripts/setup.sh
scripts/build.sh stack loadgen soak
args=()
[ -z "${DURATION:-}" ] || args+=(-duration "$DURATION")
[ -z "${RATE:-}" ] || args+=(-rate "$RATE")
exec build/bin/soak "${args[@]}" "$@"
