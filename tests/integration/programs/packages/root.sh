#!/usr/bin/env bash
# Makes a folder that dpkg can install into, with what its scripts call: programs of this machine and their
# libraries, no users but root, and no packages.
set -euo pipefail

root=$1
mkdir -p "$root"/{usr/{bin,sbin,lib,lib64},dev,etc,tmp,var/lib/dpkg/{info,updates}}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
: >"$root/var/lib/dpkg/status"
: >"$root/dev/null"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
: >"$root/etc/shadow"
: >"$root/etc/gshadow"
echo 'passwd: files' >"$root/etc/nsswitch.conf"
for program in sh getent useradd chown chmod rm; do
  path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program")
  cp -L "$path" "$root/usr/bin/$program"
  # Each library, at the path that the program looks for it.
  ldd "$path" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -Ln "$library" "$root$library"
  done
done
