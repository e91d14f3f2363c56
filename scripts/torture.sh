#!/usr/bin/env bash
# The long torture: real servers, the real binary, everything that may happen to it. SEED repeats a run, KILLS and DURATION make
# it longer or shorter, ONLY names scenarios; other arguments go to the program (-h lists them). Before it a file of a gigabyte is
# sent, unless ONLY is set.
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
