#!/usr/bin/env bash
# A newcomer's first minute: real servers, the real binary, a class of 20 seconds, and what was delivered.
source "$(dirname "$0")/env.sh"
scripts/setup.sh
step "building (the first time takes about five minutes)"
scripts/build.sh stack demo
exec build/bin/demo "$@"
