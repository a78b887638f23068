#!/bin/sh
# Writes the root file system of debian:12-slim into FOLDER, for machines that reach no container registry:
#
#   deploy/docker/base.sh FOLDER        as root; needs debootstrap
#
# Packages come from where this machine's apt has Debian 12 from, else from debootstrap's own mirror, and are brought
# up to date. What Docker's slim images leave out (manuals, translations) is left out here, too.
set -eu
suite=bookworm
target=${1:?usage: base.sh FOLDER}

# shellcheck disable=SC2016  # apt fills it in
archive() {
    apt-get indextargets --format '$(REPO_URI)' "Codename: $1" "Created-By: Packages" 2>/dev/null | head -n 1
}

mirror=$(archive "$suite")
updates=$(archive "$suite-updates")
security=$(archive "$suite-security")
# The machine's own apt has checked its archive; debootstrap checks it once more with Debian's key.
logged() {
    "$@" >>"$target.log" 2>&1 || {
        tail -n 5 "$target.log" >&2
        echo "error: making Debian 12 failed at: $*" >&2
        exit 1
    }
}
logged debootstrap --variant=minbase "$suite" "$target" ${mirror:+"$mirror"}

cat >"$target/etc/dpkg/dpkg.cfg.d/slim" <<'RULES'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
RULES
cat >"$target/etc/apt/apt.conf.d/slim" <<'RULES'
APT::Install-Recommends "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Acquire::Languages "none";
Acquire::GzipIndexes "true";
RULES
if [ -n "$security" ]; then
    {
        echo "deb $mirror $suite main"
        [ -z "$updates" ] || echo "deb $updates $suite-updates main"
        echo "deb $security $suite-security main"
    } >"$target/etc/apt/sources.list"
fi

# No service may start inside; the resolver is this machine's while packages are fetched.
printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d"
chmod 755 "$target/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$target/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
logged chroot "$target" apt-get update -q
logged chroot "$target" apt-get upgrade -q -y
logged chroot "$target" apt-get clean

find "$target/usr/share/doc" -mindepth 2 ! -name copyright ! -type d -delete
find "$target/usr/share/doc" -mindepth 1 -type d -empty -delete
rm -rf "$target"/usr/share/info/* "$target"/usr/share/lintian/* "$target"/usr/share/locale/* "$target"/usr/share/man/*
rm -rf "$target"/var/lib/apt/lists/* "$target"/var/cache/apt/archives/*.deb "$target"/var/cache/debconf/*-old
rm -rf "$target"/var/lib/dpkg/*-old "$target"/var/log/* "$target"/var/cache/ldconfig/aux-cache "$target"/tmp/*
: >"$target/etc/resolv.conf"
: >"$target/etc/machine-id"
rm -f "$target/etc/hostname"
