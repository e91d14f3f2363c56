#!/usr/bin/env bash
# Installs the Python packages of the client apps in test/clients/apps into build/python, one
# virtual environment per requirements.txt. Environments that are up to date are only checked.
source "$(dirname "$0")/env.sh"
python3 -c 'import ensurepip, venv' 2>/dev/null ||
  fail "Python 3 with venv is missing. Install it (Debian: apt-get install python3-venv)
or run scripts/setup.sh test."
mkdir -p build/python
# One at a time, because tests call this too.
exec 9>build/python/.lock
flock 9

for requirements in test/clients/apps/*/requirements.txt; do
  app=$(basename "$(dirname "$requirements")")
  to=build/python/$app
  if [ -x "$to/bin/python" ] && cmp -s "$requirements" "$to/requirements.txt"; then
    continue
  fi
  rm -rf "$to"
  python3 -m venv "$to"
  # Wheels only: nothing is compiled, and no package runs its own code here.
  "$to/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps \
    -r "$requirements" || fail "pip install of $requirements failed"
  cp "$requirements" "$to/"
done
