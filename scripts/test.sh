#!/usr/bin/env bash
# All tests. The end-to-end tests run even if a unit test failed, so that one run shows everything.
source "$(dirname "$0")/env.sh"
status=0
scripts/setup.sh test
step "building"
scripts/build.sh
step "unit tests, with the race detector"
scripts/test-unit.sh -race || status=$?
step "end-to-end tests on real servers"
scripts/test-e2e.sh || status=$?
exit "$status"
