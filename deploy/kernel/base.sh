#!/bin/bash
# Writes the root file system of a small Debian with Python, of the machine's own release, as a tar to standard
# output: the base of the kernel image where no container registry is at hand. To be run as root on Debian.
set -euo pipefail

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The machine's own Debian sources, so that its mirror and its security updates are used; third parties' are not.
sources=()
for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [[ -s $f ]]; then sources=("$f"); break; fi
done

# usr-is-merged keeps all of Perl out. The customize hooks take away what mmdebstrap copied from this machine.
# shellcheck disable=SC2016  # mmdebstrap's shell expands $1
exec mmdebstrap --variant=minbase --format=tar \
    --include=usr-is-merged,python3,python3-venv \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook=': >"$1/etc/resolv.conf"; echo kernel >"$1/etc/hostname"' \
    "$suite" - "${sources[@]}"
