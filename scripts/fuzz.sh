#!/usr/bin/env bash
# Runs every fuzz target of the service's module for FUZZTIME, one after another.
source "$(dirname "$0")/env.sh"
need_go
grep -rHoE --include='*_test.go' --exclude-dir=test --exclude-dir=build \
  '^func Fuzz[A-Za-z0-9_]+' . | sort -u |
  while IFS=: read -r file func; do
    go test -run '^$' -fuzz "^${func#func }\$" -fuzztime "${FUZZTIME:-30s}" \
      -fuzzminimizetime 10x "./$(dirname "$file")" </dev/null
  done
