#!/usr/bin/env bash
# Records a class of 20 seconds on real servers with the real binary, and shows what was delivered.
# PLATFORM=livekit: with a LiveKit server alone, for which nothing is installed.
source "$(dirname "$0")/env.sh"
platform=${PLATFORM:-syncflow}
case $platform in
  syncflow)
    scripts/setup.sh
    programs=(stack demo)
    ;;
  livekit) programs=(product livekit-server demo) ;;
  *) fail "PLATFORM=$platform: the demo knows syncflow (the default) and livekit" ;;
esac
step "building (the first time takes about five minutes)"
scripts/build.sh "${programs[@]}"
exec build/bin/demo -platform "$platform" "$@"
