#!/usr/bin/env bash
# All tests. The end-to-end part runs also where a unit test failed, so that one run tells everything.
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
