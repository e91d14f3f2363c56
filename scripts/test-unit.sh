#!/usr/bin/env bash
# Unit tests of the service's module. Arguments go to go test; -race enables cgo, which it needs.
source "$(dirname "$0")/env.sh"
need_go
for arg in "$@"; do
  [ "$arg" = -race ] && export CGO_ENABLED=1
done
exec go test -shuffle=on -timeout 10m "$@" ./...
