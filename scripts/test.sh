#!/usr/bin/env bash
# All tests. The end-to-end tests run even if a unit test failed, so that one run shows everything.
source "$(dirname "$0")/env.sh"
status=0
costs=()

part() { # part <name> <command…>
  local name=$1 start=$SECONDS failed=0
  shift
  step "$name"
  "$@" || failed=$?
  costs+=("$name: $((SECONDS - start)) s")
  return "$failed"
}

scripts/setup.sh test
part "build" scripts/build.sh || exit
part "unit tests, with the race detector" scripts/test-unit.sh -race || status=$?
part "end-to-end tests on real servers" scripts/test-e2e.sh || status=$?
printf '\n' >&2
printf '%s\n' "${costs[@]}" >&2
exit "$status"
