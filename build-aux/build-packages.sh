#!/bin/sh
# build-packages.sh - makes the Debian packages, and asks lintian about them
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: build-packages.sh DIRECTORY

set -eu

mkdir -p "$1"
output=$(cd -- "$1" && pwd)
cd -- "$(dirname -- "$0")/.."

# What git ignores must not get in.
files ()
{
  if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
    git -c safe.directory='*' ls-files -z --cached --others --exclude-standard
  else
    find . -name '_build*' -prune -o -name __pycache__ -prune -o ! -type d -print0
  fi
}

version=$(dpkg-parsechangelog -S Version)
source=$output/zcio-$version
rm -rf "$source" "$output"/*.deb "$output"/zcio_*
mkdir "$source"
files | tar -c --null --ignore-failed-read -T - | tar -x -C "$source"

cd -- "$source"
dpkg-buildpackage --no-sign ${JOBS:+-j"$JOBS"}
cd -- "$output"
rm -rf "$source"
lintian --allow-root --fail-on error,warning zcio_*.changes
ls -l ./*.deb
