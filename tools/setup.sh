#!/usr/bin/env bash
# Everything `make` needs, on a fresh Debian 12 as root: packages, a virtual environment, this package. Quick when
# nothing has changed: the stamp is a hash of what decides the outcome.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${1:-python3}
PACKAGES=(fuse3 libfuse3-dev pkg-config gcc libc6-dev make mount util-linux git tar diffutils iproute2 iptables etcd-server etcd-client openssl)

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing Debian packages: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
if ! command -v "$PYTHON" >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv python3-dev >/dev/null
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || [ ! -e "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv python3-dev >/dev/null
fi

want=$(cat requirements/dev.txt pyproject.toml tools/setup.sh | sha256sum | cut -d' ' -f1)-$("$PYTHON" -V | tr ' ' -)
if [ "$(cat .venv/.stamp 2>/dev/null)" != "$want" ]; then
  echo "making the virtual environment"
  "$PYTHON" -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
  echo "$want" > .venv/.stamp
fi
