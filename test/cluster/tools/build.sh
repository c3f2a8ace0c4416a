#!/usr/bin/env bash
# Leaves every tool of the test cluster (see TOOLS) in one directory and prints its path; builds only what is not there.
# The directory's name carries the versions and a digest of the go.mod and go.sum files, so a changed pin is a new directory.
# Cold: 6 to 15 minutes on two cores (kube-apiserver is most of it); warm: nothing is run.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}
version_of() { awk -v module="$1" '$1 == module {print $2} $2 == module {print $3}' "$here/$2/go.mod" | head -n 1; }
kubernetes=$(version_of k8s.io/kubernetes kubernetes)
pins=$(cat "$here"/*/go.mod "$here"/*/go.sum "$0" | sha256sum | cut -c1-12)
bin=$cache/cluster-$kubernetes-$pins

die() { echo "test/cluster/tools: $*" >&2; exit 1; }
say() { echo "[$(date +%H:%M:%S)] $*" >&2; }

command -v go >/dev/null || die "go is missing: apt-get install golang-go (1.21 or newer; it fetches the toolchain named in go.mod itself)"

# One go build at a time: two at once on two cores take longer than one after the other and twice the memory.
build() { # NAME DIR PACKAGE LDFLAGS
  [ -x "$bin/$1" ] && return
  local started=$SECONDS
  say "building $1 (once; it is kept in $bin)"
  (cd "$here/$2" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags "-s -w $4" -o "$bin/.$1.part" "$3")
  mv "$bin/.$1.part" "$bin/$1"
  say "built $1 in $((SECONDS - started)) s"
}

mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9

# helm's kubeVersion check and kubectl refuse the placeholder version that a build without these flags carries.
version=k8s.io/component-base/version
minor=${kubernetes#v1.}; minor=${minor%%.*}
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor -X $version.gitTreeState=clean"

build etcd etcd . ''
for name in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy; do
  build "$name" kubernetes "k8s.io/kubernetes/cmd/$name" "$stamp"
done
build helm helm helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=$(version_of helm.sh/helm/v4 helm)"
echo "$bin"
