#!/usr/bin/env bash
# Leaves a Debian trixie node in one directory and prints its path: disk.img (raw; one partition, starts by GRUB), kernels.txt (two releases,
# older first; the older is what starts). Built once for each set of inputs (this folder, kubelet, kube-proxy); about 4 minutes.
# Usage: build.sh DIR_WITH_KUBELET_AND_KUBE_PROXY IMAGE_ARCHIVE...   (OCI archives that are in containerd's store afterwards)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${KERNELPATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelpatch}
die() { echo "test/node/image: $*" >&2; exit 1; }
say() { echo "[$(date +%H:%M:%S)] $*" >&2; }

bin=${1:?directory with kubelet and kube-proxy}; shift
[ "$(id -u)" = 0 ] || die "root is needed: mmdebstrap and mke2fs keep the owners of files"
for tool in mmdebstrap mke2fs sfdisk; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install mmdebstrap e2fsprogs fdisk"
done

# The cluster's tools are named by their version, the archives by their content.
inputs=$({ find "$here" -type f -print0 | sort -z | xargs -0 cat; basename "$bin"; [ $# = 0 ] || cat "$@"; } | sha256sum | cut -c1-12)
out=$cache/node-trixie-$inputs
mkdir -p "$cache"
exec 9>"$cache/.node.lock"
flock 9
if [ -e "$out/complete" ]; then echo "$out"; exit; fi
rm -rf "$out"
mkdir -p "$out"
tree=$out/tree
uuid=$(cut -d ' ' -f 1 "$here/rootfs/etc/fstab" | sed 's/^UUID=//')
# Where the partition begins, after GRUB's core.img.
offset=$((1024 * 1024))

packages=systemd-sysv,udev,kmod,initramfs-tools,grub-pc,kexec-tools,iproute2,containerd,runc,containernetworking-plugins,iptables,conntrack,busybox-static,ca-certificates,kpatch
# Trixie carries two 6.12 kernels at a time and drops the older at a point release: the newest two of the index, never a fixed one.
# shellcheck disable=SC2016
newest_two='apt-cache pkgnames linux-image-6.12. | grep -E "^linux-image-6\.12\.[0-9]+\+deb13-cloud-amd64$" | sort -V | tail -n 2'

say "making the node's root tree (about 1.5 minutes, once)"
mmdebstrap --quiet --variant=minbase --include="$packages" \
  --aptopt='Apt::Install-Recommends "false"' \
  --customize-hook="cp -a '$here/rootfs/.' \"\$1/\" && ln -sf /usr/local/sbin/initrd.sh \"\$1/etc/kernel/postinst.d/initramfs-tools\"" \
  --customize-hook="chroot \"\$1\" sh -c 'env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \$($newest_two) >/dev/null'" \
  --customize-hook="rm -rf \"\$1\"/var/cache/apt/archives/*.deb \"\$1\"/usr/share/doc \"\$1\"/usr/share/locale" \
  trixie "$tree" >&2

(cd "$tree/lib/modules" && ls -d 6.12.*) | sort -V >"$out/kernels.txt"
[ "$(wc -l <"$out/kernels.txt")" = 2 ] || die "two 6.12 kernels were expected in trixie, found: $(tr '\n' ' ' <"$out/kernels.txt")"

install -m 755 "$bin/kubelet" "$bin/kube-proxy" "$tree/usr/local/bin/"
mkdir -p "$tree/opt/cni" "$tree/etc/cni/net.d"
ln -sfn /usr/lib/cni "$tree/opt/cni/bin"
systemctl --root="$tree" --quiet enable node-seed node-network node-console containerd kubelet kube-proxy
systemctl --root="$tree" --quiet mask serial-getty@hvc0.service getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer grub-common.service systemd-timesyncd.service systemd-networkd-wait-online.service
rm -f "$tree/etc/machine-id"
: >"$tree/etc/machine-id"

"$here/preload.sh" "$tree" "$@"

"$here/grub.sh" "$tree" "$uuid" "$(head -n 1 "$out/kernels.txt")"

say "writing the node's disk"
disk=$out/disk.img
truncate -s 6G "$disk"
echo "start=$((offset / 512)), type=83, bootable" | sfdisk --quiet --label dos "$disk"
mke2fs -q -t ext4 -U "$uuid" -d "$tree" -E "offset=$offset" "$disk" "$((6 * 1024 * 1024 - offset / 1024))k" >&2
# A boot sector is 440 bytes of code; what follows is the partition table's.
dd status=none conv=notrunc if="$tree/boot/grub/i386-pc/boot.img" of="$disk" bs=440 count=1
dd status=none conv=notrunc if="$tree/boot/grub/i386-pc/core.img" of="$disk" bs=512 seek=1
rm -rf "$tree"
: >"$out/complete"
say "node image: kernels $(tr '\n' ' ' <"$out/kernels.txt")"
echo "$out"
