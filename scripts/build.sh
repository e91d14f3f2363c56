#!/usr/bin/env bash
# Builds textegress and the servers of the development stack into build/bin. What is up to date costs only the look.
source "$(dirname "$0")/env.sh"
need_go
mkdir -p build/bin

# build <module directory> <package> [name]: every main package lands in build/bin under the last part of its path, or under the name.
build() {
  local name=${3:-${2##*/}}
  (cd "$1" && go build -o "$root/build/bin/$name" "$2") || fail "building $name failed"
}
root=$PWD

build . ./cmd/textegress
[ "${1:-}" = product ] && exit 0

build devstack github.com/livekit/livekit-server/cmd/server livekit-server
build devstack github.com/versity/versitygw/cmd/versitygw
# A module of its own: LiveKit 1.11 and 1.13 need different versions of LiveKit's other modules.
build devstack/livekit111 github.com/livekit/livekit-server/cmd/server livekit-server-1.11.0
build devstack ./bench/peers/gosdk peer-gosdk
for main in devstack/cmd/*/main.go; do
  [ -e "$main" ] || continue
  dir=$(dirname "$main")
  build devstack "./${dir#devstack/}"
done
