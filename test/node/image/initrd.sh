#!/usr/bin/env bash
# Writes a small initrd that finds the root disk and switches to it: busybox and the virtio modules of one kernel, 2 MB where
# Debian's own takes 18 MB and seconds of emulated decompression. Usage: initrd.sh TREE RELEASE OUTPUT
set -euo pipefail
tree=$1 release=$2 output=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work"/{bin,dev,proc,sys,root,modules}
cp "$tree/usr/bin/busybox" "$work/bin/busybox"
# In load order. The cloud kernel has virtio-pci built in or as a module depending on the release; what is absent is built in.
for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc16 crc32c_generic libcrc32c crc32c-intel mbcache jbd2 ext4; do
  file=$(find "$tree/lib/modules/$release/kernel" -name "$module.ko*" | head -n 1)
  [ -n "$file" ] || continue
  case $file in
  *.xz) xz -dc "$file" ;;
  *.zst) zstd -qdc "$file" ;;
  *) cat "$file" ;;
  esac >"$work/modules/$module.ko"
  echo "$module" >>"$work/modules/order"
done
cat >"$work/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
while read -r module; do /bin/busybox insmod /modules/$module.ko 2>/dev/null; done </modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 -o rw /dev/vda /root || { echo "initrd: /dev/vda cannot be mounted"; /bin/busybox sh; }
/bin/busybox umount /proc /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
INIT
chmod +x "$work/init"
(cd "$work" && find . | cpio --quiet -o -H newc | gzip -1) >"$output"
