#!/usr/bin/env bash
# Runs every fuzz target of the service's module for FUZZTIME, one after the other.
source "$(dirname "$0")/env.sh"
need_go
grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . --exclude-dir=test --exclude-dir=build | sort -u |
  while IFS=: read -r file func; do
    go test -run '^$' -fuzz "^${func#func }\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 10x "./$(dirname "$file")" </dev/null
  done
