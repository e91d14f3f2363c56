# shellcheck shell=bash
# Sourced by the scripts beside it: the directory, the Go that is needed, and one set of build flags. Other flags (CGO_ENABLED,
# -trimpath) would compile every dependency again, so no script sets its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Flags of the binaries. Tests with the race detector need cgo and say so themselves.
export CGO_ENABLED=0

# A checkout that git does not trust (owned by someone else, or exported without .git) builds without a stamp instead of failing.
if ! git status --short >/dev/null 2>&1; then
  export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
fi

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

step() {
  printf '\n== %s\n' "$*" >&2
}

# need_go ends the script where no sufficient Go is there. A go command since 1.21 fetches the toolchain that go.mod asks for,
# unless GOTOOLCHAIN=local forbids it.
need_go() {
  command -v go >/dev/null || fail "Go is missing. Install Go 1.26 or later (https://go.dev/doc/install) and put it on the PATH."
  # What it says of downloading a toolchain, or of failing to, is on stderr.
  local out
  out=$(go version) || fail "Go 1.26 or later is needed, and this go command cannot get it.
Install it (https://go.dev/doc/install), or unset GOTOOLCHAIN so that go fetches it."
  local version=${out#go version go} major minor
  version=${version%% *}
  IFS=. read -r major minor _ <<<"$version"
  minor=${minor%%[!0-9]*}
  if ! { [ "$major" -gt 1 ] || [ "$minor" -ge 26 ]; } 2>/dev/null; then
    case $version in
      devel*) return ;;
    esac
    fail "Go 1.26 or later is needed, this is $version. Install it (https://go.dev/doc/install) or run: go env -w GOTOOLCHAIN=auto"
  fi
}
