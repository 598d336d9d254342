#!/bin/sh
# try-packages.sh - installs the Debian packages in a clean root, and uses them there
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: try-packages.sh DIRECTORY
#
# Must be root. DIRECTORY has the packages; a new Debian is kept there as well, so
# that the next time it need not be fetched.

set -eu

output=$(cd -- "$1" && pwd)
cd -- "$(dirname -- "$0")/.."
packages='gir1.2-zcio-1 libzcio-1-0 libzcio-1-dev libzcio-1-doc python3-zcio zcio-tools'

# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
minbase=$output/minbase-$codename.tar

root=$(mktemp -d "$output/root-XXXXXX")
chmod 755 "$root"
trap 'rm -rf --one-file-system "$root"' EXIT
trap 'exit 1' HUP INT TERM

if [ ! -f "$minbase" ]; then
  debootstrap --variant=minbase "$codename" "$root" >"$output/debootstrap.log" ||
    { tail -n 20 "$output/debootstrap.log"; exit 1; }
  tar -C "$root" -cf "$minbase.new" .
  mv "$minbase.new" "$minbase"
else
  tar -C "$root" -xpf "$minbase"
fi

in_root ()
{
  env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" "$@"
}

apt_get ()
{
  in_root apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >"$output/apt-get.log" 2>&1 ||
    { cat "$output/apt-get.log"; exit 1; }
}

mkdir -p "$root/packages" "$root/source/debian"
for package in $packages; do
  cp "$output/$package"_*.deb "$root/packages/"
done
cp README.md "$root/source/"
cp -r debian/tests "$root/source/debian/"

apt_get update
apt_get install --no-install-recommends gcc libc6-dev pkgconf
(cd "$root" && find . -xdev -path ./packages -prune -o -path ./source -prune -o \
  -iname '*zcio*' -print) >"$output/before"
[ ! -s "$output/before" ] || { echo "the root is not clean:"; cat "$output/before"; exit 1; }

(cd "$root" && echo packages/*.deb) | sed 's|packages/|/&|g' >"$output/debs"
# shellcheck disable=SC2046 # a list of names
apt_get install --no-install-recommends $(cat "$output/debs")
for package in $packages; do
  [ "$(in_root dpkg-query -W -f '${db:Status-Status}' "$package")" = installed ] ||
    { echo "not installed: $package"; exit 1; }
done

# A network of their own: the programs use a port that may be taken
unshare --net --mount sh -eu -c '
  ip link set lo up
  mount -t proc proc "$1/proc"
  exec chroot "$1" /source/debian/tests/readme
' sh "$root"

# shellcheck disable=SC2086 # a list of names
apt_get purge $packages
left=$(cd "$root" && find etc usr var/lib -xdev -iname '*zcio*' ! -path 'var/lib/apt/*')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
echo "The packages install, work, and go without a trace in a new $codename."
