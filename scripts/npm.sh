#!/usr/bin/env bash
# Installs the npm packages of the named client apps in test/clients/apps, or of all, into build/npm
# as pinned by their lock files. Apps that are up to date are only checked.
source "$(dirname "$0")/env.sh"
command -v npm >/dev/null ||
  fail "npm is missing. Install it (Debian: apt-get install npm) or run scripts/setup.sh bench."
mkdir -p build/npm
# One at a time, because tests call this too.
exec 9>build/npm/.lock
flock 9

if [ $# -eq 0 ]; then
  for lock in test/clients/apps/*/package-lock.json; do
    set -- "$@" "$(basename "$(dirname "$lock")")"
  done
fi
for app in "$@"; do
  from=test/clients/apps/$app
  lock=$from/package-lock.json
  to=build/npm/$app
  if [ -e "$to/.complete" ] && cmp -s "$lock" "$to/package-lock.json"; then
    continue
  fi
  rm -rf "$to"
  mkdir -p "$to"
  cp "$from/package.json" "$from/.npmrc" "$lock" "$to/"
  # No package here needs its install scripts; native parts are separate packages.
  (cd "$to" && npm ci --ignore-scripts --loglevel=error) || fail "npm ci in $to failed"
  touch "$to/.complete"
done
