#!/usr/bin/env bash
# Measures join time, memory per room and CPU per message, beside those of the peers. Arguments go
# to bench (-h lists them).
source "$(dirname "$0")/env.sh"
peers=yes
for arg in "$@"; do
  case $arg in
    -quick | --quick | -read* | --read* | -h | --help) peers= ;;
  esac
done
case " $* " in *" -peers "* | *" --peers "*) peers=yes ;; esac
[ -z "$peers" ] || scripts/setup.sh bench
scripts/setup.sh
scripts/build.sh
# Without its packages the Node.js peer is left out, and the table and the exit code say so.
[ -z "$peers" ] || scripts/npm.sh node || true
exec build/bin/bench "$@"
