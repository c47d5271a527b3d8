# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# What must be installed on the machine; sourced by up.

os_is() { (. /etc/os-release && [[ " $ID ${ID_LIKE:-} " == *" $1 "* ]]); }

# wanted_packages BASE: sets the array packages.
wanted_packages() {
    if os_is debian; then
        packages=(podman crun uidmap slirp4netns nftables netavark catatonit redis-server ca-certificates curl)
        [[ $1 != debian ]] || packages+=(mmdebstrap debian-archive-keyring)
        ! user_manager || packages+=(dbus-user-session libpam-systemd)
    elif command -v dnf >/dev/null; then
        packages=(podman crun shadow-utils slirp4netns nftables catatonit redis ca-certificates curl)
    else
        die "this script installs packages on Debian, its relatives and on Fedora's; elsewhere install podman, crun, newuidmap, slirp4netns, nft, catatonit, redis-server and curl by hand and run it with --no-packages"
    fi
}

# missing_packages: sets the array missing.
missing_packages() {
    local p have
    missing=()
    if os_is debian; then
        have=$(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' "${packages[@]}" 2>/dev/null) || true
        for p in "${packages[@]}"; do [[ " $have" == *"ii $p "* ]] || missing+=("$p"); done
    else
        for p in "${packages[@]}"; do rpm -q --whatprovides "$p" >/dev/null 2>&1 || missing+=("$p"); done
    fi
}

# install_packages PACKAGE...: package lists may be old or absent, hence the second try.
install_packages() {
    if os_is debian; then
        export DEBIAN_FRONTEND=noninteractive
        hold_services
        apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }
        release_services
    else
        dnf install -y "$@"
    fi
    # Cellblock runs a Redis of its own; one that nobody asked for stays off.
    if [[ " $* " == *" redis-server "* ]] && have_systemd; then systemctl disable redis-server.service; fi
}

# hold_services: Debian starts a service as soon as it is installed, unless a policy forbids it.
hold_services() {
    [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 0755 /usr/sbin/policy-rc.d
    trap release_services EXIT
}

release_services() {
    if [[ $(cat /usr/sbin/policy-rc.d 2>/dev/null) == $'#!/bin/sh\nexit 101' ]]; then rm /usr/sbin/policy-rc.d; fi
}

# find_go: prints the path of a Go that can bring the version in go.mod itself: since 1.21 it fetches what is asked for.
find_go() {
    local go
    for go in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-*/bin/go /snap/bin/go; do
        if [[ -x $go && $("$go" env GOVERSION 2>/dev/null) =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21)); then
            echo "$go"
            return
        fi
    done
    return 1
}

# install_go: Debian's own Go where it is new enough, else that of its backports.
install_go() {
    if ! os_is debian; then install_packages golang; return; fi
    local candidate suite
    apt-get update
    candidate=$(apt-cache policy golang-go | sed -n 's/^ *Candidate: //p')
    if dpkg --compare-versions "${candidate#*:}" ge 1.21; then install_packages golang-go; return; fi
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")-backports
    if ! apt-cache policy | grep -q "n=$suite\b"; then add_backports "$suite"; fi
    install_packages -t "$suite" golang-go
}

# add_backports SUITE: from the mirror that the machine has its release from.
add_backports() {
    local mirror
    # shellcheck disable=SC2016  # apt expands these
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        awk -v s="${1%-backports}" '$2 == s { print $1; exit }')
    [[ -n $mirror ]] || die "no Go of version 1.21 or later here, and no Debian mirror in apt's sources to get one from; install Go and run this again"
    cat >/etc/apt/sources.list.d/cellblock-backports.sources <<TEXT
# Added by Cellblock's deploy/up for a current Go.
Types: deb
URIs: $mirror
Suites: $1
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
TEXT
    apt-get update
}
