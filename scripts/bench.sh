#!/usr/bin/env bash
# Figures without thresholds: join time, memory per room, CPU per message. Arguments go to bench (-h lists them).
source "$(dirname "$0")/env.sh"
scripts/setup.sh
scripts/build.sh
exec build/bin/bench "$@"
