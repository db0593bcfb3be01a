#!/bin/sh
# Make a base image for the tests: Debian with its own Python, as the usual base images of Python have it.
#
#   base.sh NAME STORE EXTRA     NAME is the image's name, STORE the folder that buildah keeps its images in; what lies
#                                in the folder EXTRA is laid over the image
#
# It takes minutes, so callers keep STORE.
set -eu

name=$1
store=$2
extra=$3
buildah="buildah --root $store/root --runroot $store/run --storage-driver vfs"

mkdir -p "$store"
tmp=$(mktemp -d "$store/base.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' HUP INT TERM

# As the images called "slim" have it; and dpkg need not wait for the disk after every file.
mkdir -p "$tmp/rootfs/etc/dpkg/dpkg.cfg.d"
printf '%s\n' force-unsafe-io 'path-exclude /usr/share/doc/*' 'path-exclude /usr/share/man/*' \
    'path-exclude /usr/share/locale/*' >"$tmp/rootfs/etc/dpkg/dpkg.cfg.d/image"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$tmp/rootfs"
find "$tmp/rootfs/usr/share/doc" "$tmp/rootfs/usr/share/man" "$tmp/rootfs/usr/share/locale" \
    "$tmp/rootfs/var/cache/apt" "$tmp/rootfs/var/lib/apt/lists" "$tmp/rootfs/var/log" -type f -delete
cp -R "$extra/." "$tmp/rootfs/"

container=$($buildah from scratch)
$buildah copy --quiet "$container" "$tmp/rootfs" /
$buildah commit --quiet --rm --format oci "$container" "$name"
