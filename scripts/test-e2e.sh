#!/usr/bin/env bash
# Tests of the development stack's module: real servers, the real binary from build/bin. Arguments go to go test.
source "$(dirname "$0")/env.sh"
scripts/setup.sh test
scripts/build.sh
cd test
# One package at a time: each starts servers, and a machine of two cores is the measure.
exec go test -p 1 -timeout 15m "$@" ./...
