#!/usr/bin/env bash
# Leaves a Debian machine with everything that make needs: packages, Node 24 and the npm packages of the lockfile. Runs nothing that is there
# already. Needs root for what is missing, and names it otherwise.
set -euo pipefail
cd "$(dirname "$0")"
die() { echo "setup: $*" >&2; exit 1; }
say() { echo "[$(date +%H:%M:%S)] $*" >&2; }

# Command that must be there, and the package that has it.
needs='
go golang-go
npm npm
git git
openssl openssl
curl curl
setpriv util-linux
qemu-system-x86_64 qemu-system-x86
qemu-img qemu-utils
mmdebstrap mmdebstrap
mke2fs e2fsprogs
sfdisk fdisk
buildah buildah
strip binutils
xz xz-utils
zstd zstd
shellcheck shellcheck
'
missing=
while read -r command package; do
  [ -n "$command" ] || continue
  command -v "$command" >/dev/null || missing="$missing $package"
done <<<"$needs"

if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || die "missing packages:$missing; run as root, or: apt-get install$missing"
  command -v apt-get >/dev/null || die "missing:$missing; this is no Debian machine, so install them with its own package manager"
  say "installing$missing"
  apt-get update -qq
  # shellcheck disable=SC2086 # one word a package
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! cmp -s package-lock.json node_modules/.installed-lock; then
  say "installing the npm packages of the lockfile"
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json node_modules/.installed-lock
fi
