#!/usr/bin/env bash
# Every check that is not a test. All run even if one fails; the failed ones are listed at the end.
source "$(dirname "$0")/env.sh"
scripts/tools.sh
root=$PWD
failed=()

check() { # check <name> <module directory> <command…>
  local name=$1 dir=$2
  shift 2
  (cd "$dir" && "$@") || failed+=("$name in $dir")
}

check_scripts() {
  local file
  for file in scripts/*.sh .ci/run; do
    bash -n "$file" || return 1
  done
  # Optional: it is not installed everywhere.
  if command -v shellcheck >/dev/null; then
    shellcheck -x -P SCRIPTDIR scripts/*.sh .ci/run
  fi
}

check scripts . check_scripts
for module in . client test; do
  step "formatting, linters, modernizers, go.mod: $module"
  check "golangci-lint fmt (make fmt fixes it)" "$module" "$root/build/bin/golangci-lint" fmt --diff
  check "go vet" "$module" go vet ./...
  check "golangci-lint run" "$module" "$root/build/bin/golangci-lint" run
  check "go fix (make fmt fixes it)" "$module" go fix -diff ./...
  check "go mod tidy" "$module" go mod tidy -diff
done
# Optional, like shellcheck: only whoever changes the .proto file needs protoc.
if command -v protoc >/dev/null; then
  check "generated code" . scripts/generate.sh -check
fi
check "go mod tidy" test/livekit111 go mod tidy -diff

[ ${#failed[@]} -eq 0 ] || fail "failed:$(printf '\n  %s' "${failed[@]}")"
