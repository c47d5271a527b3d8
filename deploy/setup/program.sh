# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# The cellblock program and its configuration; sourced by up.

# build_program GO: leaves the program in $state/setup/cellblock, and cellblock-shim beside it; Go does nothing when no source has changed.
build_program() {
    # The tree may belong to another user, which git refuses: the version is then left out rather than the build.
    local top vcs=true
    top=$(dirname "$here")
    git -C "$top" rev-parse HEAD >/dev/null 2>&1 || vcs=false
    (cd "$top" && env GOTOOLCHAIN=auto GOFLAGS= CGO_ENABLED=0 HOME=/root \
        "$1" build -trimpath -ldflags "-s -w" -buildvcs=$vcs -tags "$(<"$here/gotags")" -o "$state/setup/" ./cmd/cellblock ./cmd/cellblock-shim)
}

# install_program: the program, and beside it the one for kernels with a network.
install_program() {
    install_binary "$state/setup/cellblock" "$binary"
    install_binary "$state/setup/cellblock-shim" "$shim"
}

# install_hook: Podman has the program put up a packet filter before a kernel with network "internet" starts. Podman
# makes no container while a hook names a program that is not there, so this comes last, and down takes it away first.
# The variable keeps Podman's packages, which are in the program, from looking for a user's directories.
install_hook() {
    write_file "$hook" <<TEXT
{
  "version": "1.0.0",
  "hook": {
    "path": "$binary",
    "args": ["cellblock", "filter"],
    "env": ["PATH=$CLEAN_PATH", "CELLBLOCK_CONFIG=$etc/config.yaml", "_CONTAINERS_ROOTLESS_UID=0"],
    "timeout": 20
  },
  "when": {"annotations": {"^io[.]cellblock[.]network$": "^internet$"}},
  "stages": ["createRuntime"]
}
TEXT
}

# install_binary FROM TO: in one step, so that what runs keeps its own.
install_binary() {
    if cmp -s "$1" "$2"; then return; fi
    install -m 0755 -o root -g root "$1" "$2.new"
    mv "$2.new" "$2"
}

# install_scripts: what starts the gateway must not depend on this source tree staying where it is.
install_scripts() { install -m 0755 -o root -g root "$here"/{enter,lib.sh,supervise} "$state/bin/"; }

# write_config LISTEN: from the example, once, and then sets fresh. Later only an explicit LISTEN changes it.
write_config() {
    local config=$etc/config.yaml
    if [[ ! -e $config ]]; then
        sed -E -e "s#/(var/lib|run|etc)/cellblock#/\\1/$instance#g" -e "s#^instance: cellblock#instance: $instance#" \
            "$here/cellblock.example.yaml" | write_file "$config"
        fresh=yes
    fi
    if [[ -n $1 && $(listen_address) != "$1" ]]; then
        { sed -E "s#^listen:.*#listen: $1#" "$config"; grep -q '^listen:' "$config" || echo "listen: $1"; } | write_file "$config"
    fi
}

# settle_limits: a new configuration allows what this machine cannot enforce; doctor knows what that is.
settle_limits() {
    local config=$etc/config.yaml status=0 text
    in_instance "$binary" doctor --quiet --only engine.limits || status=$?
    if [[ -n ${fresh:-} && $status == 1 ]]; then
        sed -E 's#^(  unenforceable:) refuse#\1 allow#' "$config" | write_file "$config"
    fi
    text=$(in_instance "$binary" doctor --strict --only engine.limits 2>&1) || warn "a kernel can take all of the machine:
$text"
}

# setting KEY: the value of a top-level key of the configuration.
setting() { sed -n -E "s/^$1:[[:space:]]*([^#]*[^#[:space:]])?[[:space:]]*(#.*)?$/\\1/p" "$etc/config.yaml" | tr -d "\"'"; }

# listen_address: the configuration's, or the program's own default.
listen_address() {
    local address=
    [[ ! -e $etc/config.yaml ]] || address=$(setting listen)
    echo "${address:-127.0.0.1:8888}"
}

# check_config: before a running gateway is stopped for a configuration with which it would not start again.
check_config() {
    local fault
    fault=$(in_front "$binary" serve --check 2>&1) || die "the configuration is wrong, so the gateway is left as it is: ${fault#cellblock: }"
}
