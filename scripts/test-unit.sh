#!/usr/bin/env bash
# Unit tests of the modules of the service and of its client. Arguments go to go test; -race enables
# cgo, which it needs.
source "$(dirname "$0")/env.sh"
need_go
for arg in "$@"; do
  [ "$arg" = -race ] && export CGO_ENABLED=1
done
status=0
for module in . client; do
  (cd "$module" && go test -shuffle=on -timeout 10m "$@" ./...) || status=$?
done
exit "$status"
