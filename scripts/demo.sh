#!/usr/bin/env bash
# Records a class of 20 seconds on real servers with the real binary, and shows what was delivered.
source "$(dirname "$0")/env.sh"
scripts/setup.sh
step "building (the first time takes about five minutes)"
scripts/build.sh stack demo
exec build/bin/demo "$@"
