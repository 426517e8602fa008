#!/usr/bin/env bash
# Prints the path of the source archive of GNU hello, as Debian carries it: what the tests configure and build. Fetched
# once, by a package index of its own, so that the machine's apt configuration stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
WORK=$PWD/.venv/c-project
if ! ls "$WORK"/hello_*.orig.tar.gz >/dev/null 2>&1; then
  mkdir -p "$WORK"/apt/lists/partial "$WORK"/apt/parts
  # The machine's own sources, as sources of source packages.
  sed -n 's/^deb \(.*\)$/deb-src \1/p' /etc/apt/sources.list > "$WORK/apt/sources.list" 2>/dev/null || true
  for file in /etc/apt/sources.list.d/*.list; do
    [ ! -e "$file" ] || sed -n 's/^deb \(.*\)$/deb-src \1/p' "$file" > "$WORK/apt/parts/$(basename "$file")"
  done
  for file in /etc/apt/sources.list.d/debian*.sources; do
    [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" > "$WORK/apt/parts/$(basename "$file")"
  done
  options=(-qq -o "Dir::Etc::sourcelist=$WORK/apt/sources.list" -o "Dir::Etc::sourceparts=$WORK/apt/parts"
    -o "Dir::State::lists=$WORK/apt/lists" -o "Dir::Cache=$WORK/apt" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update >&2
  (cd "$WORK" && apt-get "${options[@]}" source --download-only hello >&2)
  rm -rf "$WORK/apt"
fi
ls "$WORK"/hello_*.orig.tar.gz
