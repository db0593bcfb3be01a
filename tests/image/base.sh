#!/bin/sh
# Make a base image for the tests: Debian with its own Python, as the usual base images of Python have it.
#
#   base.sh NAME STORE     NAME is the image's name, STORE the folder that buildah keeps its images in
#
# It takes minutes, so callers keep STORE; an image that is there already is left alone.
set -eu

name=$1
store=$2
suite=bookworm
buildah="buildah --root $store/root --runroot $store/run --storage-driver vfs"

$buildah inspect --type image "$name" >/dev/null 2>&1 && exit 0

mkdir -p "$store"
tmp=$(mktemp -d "$store/base.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' HUP INT TERM

# Without these, dpkg waits for the disk after every file and unpacks pages that nobody reads.
mkdir -p "$tmp/rootfs/etc/dpkg/dpkg.cfg.d"
printf '%s\n' force-unsafe-io 'path-exclude /usr/share/doc/*' 'path-exclude /usr/share/man/*' \
    'path-exclude /usr/share/locale/*' >"$tmp/rootfs/etc/dpkg/dpkg.cfg.d/image"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$tmp/rootfs" >&2
rm -rf "$tmp/rootfs/var/cache/apt/archives" "$tmp/rootfs/var/lib/apt/lists" "$tmp/rootfs/var/log"
mkdir -p "$tmp/rootfs/var/lib/apt/lists/partial" "$tmp/rootfs/var/cache/apt/archives/partial" "$tmp/rootfs/var/log"
# As the images called "slim" have it.
find "$tmp/rootfs/usr/share/doc" "$tmp/rootfs/usr/share/man" "$tmp/rootfs/usr/share/locale" -type f -delete

container=$($buildah from scratch)
$buildah copy --quiet "$container" "$tmp/rootfs" / >/dev/null
$buildah commit --quiet --rm --format oci "$container" "$name" >/dev/null
