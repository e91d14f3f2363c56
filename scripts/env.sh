# shellcheck shell=bash
# Sourced by the other scripts: changes to the repository, checks the Go version and sets the build
# flags. Other flags (CGO_ENABLED, -trimpath) would recompile every dependency, so no script sets
# its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# For binaries. Tests with the race detector need cgo and enable it themselves.
export CGO_ENABLED=0

# A checkout that git does not trust (owned by someone else, or exported without .git) builds
# without a version stamp instead of failing.
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

# need_go ends the script if Go is missing or too old. Since 1.21 a go command fetches the toolchain
# that go.mod asks for, unless GOTOOLCHAIN=local forbids it.
need_go() {
  command -v go >/dev/null ||
    fail "Go is missing. Install Go 1.26 or later (https://go.dev/doc/install); add it to the PATH."
  # Messages about downloading a toolchain, or failing to, are on stderr.
  local out
  out=$(go version) || fail "Go 1.26 or later is needed, and this go command cannot fetch it.
Install it (https://go.dev/doc/install), or unset GOTOOLCHAIN so that go fetches it."
  local version=${out#go version go} major minor
  version=${version%% *}
  IFS=. read -r major minor _ <<<"$version"
  minor=${minor%%[!0-9]*}
  if ! { [ "$major" -gt 1 ] || [ "$minor" -ge 26 ]; } 2>/dev/null; then
    case $version in
      devel*) return ;;
    esac
    fail "Go 1.26 or later is needed, this is $version.
Install it (https://go.dev/doc/install) or run: go env -w GOTOOLCHAIN=auto"
  fi
}
