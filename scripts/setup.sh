#!/usr/bin/env bash
# Installs the Debian packages that the tests and the demo need and that are missing. It starts no service: the broker of the
# development stack is a private child process on loopback, the package only brings its files.
source "$(dirname "$0")/env.sh"
# Under sudo, root's PATH need not have Go; it is looked for again when something is built.
[ -n "${SUDO_USER:-}" ] || need_go

missing=()
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
# The race detector needs cgo: a C compiler and the headers of the C library.
command -v "${CC:-gcc}" >/dev/null || missing+=(gcc)
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)

[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || fail "Missing: ${missing[*]} (the names of the Debian packages). Install them with this system's package manager."

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  sudo=(sudo -n)
  sudo -n true 2>/dev/null || fail "Missing Debian packages, and no right to install them: ${missing[*]}
Please run: sudo $PWD/scripts/setup.sh
It installs these packages and starts no service. (\`apt-get install\` by hand would start the one of rabbitmq-server.)"
fi

# Debian starts a service when its package is installed, unless this file says no. One that is already there is the
# administrator's: respected, and left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ] && [ ! -L $policy ]; then
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
  "${sudo[@]}" chmod 755 $policy
fi

install_missing() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends "${missing[@]}" </dev/null
}

step "installing ${missing[*]}"
# The lists are fetched only where they are missing or too old to install from.
if ! install_missing >/dev/null 2>&1; then
  "${sudo[@]}" apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update </dev/null >&2
  install_missing >&2
fi

if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" rabbitmq-server "* ]]; then
  printf '%s\n' "rabbitmq-server was installed and not started. Debian starts it at the next boot, unless you run:
  sudo systemctl disable rabbitmq-server" >&2
fi
