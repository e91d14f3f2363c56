#!/usr/bin/env bash
# Tests of the module in test/: real servers, the binary from build/bin. Arguments go to go test.
source "$(dirname "$0")/env.sh"
scripts/setup.sh test
scripts/build.sh
cd test
# One package at a time: each starts servers, and two cores must be enough.
exec go test -p 1 -timeout 15m "$@" ./...
