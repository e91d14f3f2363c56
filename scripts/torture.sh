#!/usr/bin/env bash
# The long torture: the real binary on real servers, with every kind of failure. SEED repeats a run,
# KILLS and DURATION set its length, ONLY names scenarios; other arguments go to the program (-h
# lists them). Unless ONLY is set, it first sends a file of a gigabyte.
source "$(dirname "$0")/env.sh"
scripts/setup.sh
scripts/build.sh stack loadgen torture
args=()
[ -z "${SEED:-}" ] || args+=(-seed "$SEED")
[ -z "${KILLS:-}" ] || args+=(-kills "$KILLS")
[ -z "${DURATION:-}" ] || args+=(-duration "$DURATION")
[ -z "${ONLY:-}" ] || args+=(-only "$ONLY")
if [ -z "${ONLY:-}" ]; then
  step "a file of a gigabyte"
  (cd test && go test -count=1 -timeout 30m -run 'TestLargeFile$' -v ./e2e -large-mib=1024)
fi
exec build/bin/torture "${args[@]}" "$@"
