#!/usr/bin/env bash
# Figures without thresholds: join time, memory per room, CPU per message.
source "$(dirname "$0")/env.sh"
scripts/setup.sh
scripts/build.sh
exec build/bin/bench "$@"
