#!/usr/bin/env bash
# Installs missing Debian packages: those for the demo and most tests; with "bench" also those of
# the benchmark's peer (Node.js, npm), with "test" those of the client tests (Node.js, npm, Python,
# Chromium), Redis for LiveKit with several nodes, and protoc for the check of generated code. It
# starts no service: the broker and Redis of the development stack are private child processes on
# loopback, and the packages only provide their files.
source "$(dirname "$0")/env.sh"
# Under sudo, root's PATH may lack Go; it is checked again when something is built.
[ -n "${SUDO_USER:-}" ] || need_go

missing=()
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
# The race detector needs cgo: a C compiler and the headers of the C library.
command -v "${CC:-gcc}" >/dev/null || missing+=(gcc)
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)

# Only some checks, tests and the benchmark's peer need these. If they cannot be installed, those
# are skipped with a message; in continuous integration that is a failure.
optional=()
if [ "${1:-}" = test ] || [ "${1:-}" = bench ]; then
  command -v node >/dev/null || optional+=(nodejs)
  command -v npm >/dev/null || optional+=(npm)
fi
if [ "${1:-}" = test ]; then
  python3 -c 'import ensurepip, venv' 2>/dev/null || optional+=(python3-venv)
  command -v "${CHROMIUM:-chromium}" >/dev/null || command -v chromium-browser >/dev/null ||
    command -v google-chrome >/dev/null || optional+=(chromium)
  command -v redis-server >/dev/null || optional+=(redis-server)
  for tool in curl jq openssl; do # of the examples in docs/API.md
    command -v "$tool" >/dev/null || optional+=("$tool")
  done
  command -v protoc >/dev/null || optional+=(protobuf-compiler)
  [ -e /usr/include/google/protobuf/descriptor.proto ] || optional+=(libprotobuf-dev)
fi
all=("${missing[@]}" "${optional[@]}")
[ ${#all[@]} -gt 0 ] || exit 0

# cannot <why>: fails, or continues if only optional packages are missing.
cannot() {
  [ ${#missing[@]} -eq 0 ] || fail "$1"
  printf '%s\n' "$1" \
    "Without them, the checks, tests and benchmark peers that need them are skipped." >&2
  exit 0
}

command -v apt-get >/dev/null || cannot "Missing: ${all[*]} (names of Debian packages).
Install them with this system's package manager."

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  sudo=(sudo -n)
  sudo -n true 2>/dev/null ||
    cannot "Missing Debian packages, and no permission to install them: ${all[*]}
Please run: sudo $PWD/scripts/setup.sh $*
It installs these packages and starts no service (\`apt-get install\` would)."
fi

# Debian starts a service when its package is installed, unless this file forbids it. An existing
# file belongs to the administrator and is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ] && [ ! -L $policy ]; then
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
  "${sudo[@]}" chmod 755 $policy
fi

apt_install() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends "$@" </dev/null
}

# get <package…>: fetches the package lists only if installing without that fails.
get() {
  step "installing $*"
  apt_install "$@" >/dev/null 2>&1 && return
  "${sudo[@]}" apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update </dev/null >&2
  apt_install "$@" >&2
}

# at_boot <packages that were installed…>: their services would start at the next boot.
at_boot() {
  [ -d /run/systemd/system ] || return 0
  local service
  for service in rabbitmq-server redis-server; do
    [[ " $* " != *" $service "* ]] ||
      printf '%s\n' "$service was installed, not started. To prevent a start at the next boot:
  sudo systemctl disable $service" >&2
  done
}

[ ${#missing[@]} -eq 0 ] || get "${missing[@]}"
at_boot "${missing[@]}"

# Ubuntu has no Chromium package that works without snap.
missing=()
[ ${#optional[@]} -eq 0 ] || get "${optional[@]}" ||
  cannot "These packages could not be installed: ${optional[*]}"
at_boot "${optional[@]}"
