#!/usr/bin/env bash
# Formats all modules and applies the modernizers of go fix.
source "$(dirname "$0")/env.sh"
scripts/tools.sh
root=$PWD
for module in . client test; do
  (cd "$module" && go fix ./... && "$root/build/bin/golangci-lint" fmt)
done
