# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# The kernel image and the bridge image of an instance; sourced by up.

readonly KERNEL_IMAGE=localhost/cellblock/kernel-python:latest
readonly BRIDGE_IMAGE=localhost/cellblock/bridge:latest
readonly UNLABELLED_IMAGE=localhost/cellblock/kernel-unlabelled:latest
readonly BASE_IMAGE=localhost/cellblock/base:latest
readonly KERNELSPEC='{"argv":["/opt/kernel/bin/python","-Xfrozen_modules=off","-m","ipykernel_launcher","-f","{connection_file}"],"display_name":"Python 3 (ipykernel)","language":"python","interrupt_mode":"signal","metadata":{"debugger":true}}'
# Larger logos are not worth a label.
readonly RESOURCE_LIMIT=20000

podman_do() { in_instance podman "$@"; }

# image_label IMAGE LABEL: prints nothing when there is no such image or label.
image_label() { podman_do image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

# kernel_inputs BASE: one hash over all that the kernel image is made of.
kernel_inputs() { (cd "$here/kernel" && { echo "$1 $KERNELSPEC"; cat Containerfile requirements.txt entry.sh base.sh; }) | sha256sum | cut -d' ' -f1; }

kernel_image_current() { [[ $(image_label "$KERNEL_IMAGE" io.cellblock.inputs) == "$(kernel_inputs "$1")" ]]; }

# build_kernel BASE: BASE is an image name, or "debian" for one made of this machine's own packages.
build_kernel() {
    local base=$1 context=$run/build old
    old=$(podman_do image inspect --format '{{.Id}}' "$KERNEL_IMAGE" 2>/dev/null) || old=
    rm -rf "$context"
    install -d -m 0750 -o root -g "$gid" "$context"
    install -m 0640 -o root -g "$gid" "$here"/kernel/{Containerfile,requirements.txt,entry.sh} "$context"
    pip_settings "$context"
    get_base "$base"
    [[ $base != debian ]] || base=$BASE_IMAGE
    # The host's network: a build needs no more than pip's index, and not every host lets a user make a tap device.
    podman_do build --squash-all --network=host --pull=never --build-arg "BASE=$base" "${secrets[@]}" \
        --label "io.cellblock.inputs=$(kernel_inputs "$1")" --tag "$UNLABELLED_IMAGE" "$context"
    label_kernel "$context"
    rm -rf "$context"
    podman_do rmi --force "$BASE_IMAGE" 2>/dev/null || true
    podman_do untag "$UNLABELLED_IMAGE"
    # Kernels that still run on the old image keep it; then it goes with a later build.
    [[ -z $old ]] || podman_do rmi "$old" 2>/dev/null || true
    podman_do image prune --force --filter label=io.cellblock.inputs || true
}

# get_base BASE: whoever names an image on the command line trusts it, so no policy stands in the way.
get_base() {
    case $1 in
        debian) "$here/kernel/base.sh" | podman_do import - "$BASE_IMAGE" ;;
        localhost/*) ;;
        *) echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$run/build/policy.json"
            chmod 0644 "$run/build/policy.json"
            podman_do pull --signature-policy "$run/build/policy.json" "$1" ;;
    esac
}

# pip_settings DIR: hands this machine's way to a package index to the build, as secrets that stay out of the image.
pip_settings() {
    local key value conf=$1/pip.conf ca
    secrets=()
    echo '[global]' >"$conf"
    for key in index-url extra-index-url trusted-host proxy timeout; do
        value=PIP_${key^^}
        value=${value//-/_}
        value=${!value:-$(pip_configured "$key")}
        [[ -z $value ]] || echo "$key = $value" >>"$conf"
    done
    secrets+=(--secret "id=pip.conf,src=$conf")
    ca=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
    if [[ -r $ca ]]; then
        cp "$ca" "$1/ca.crt"
        secrets+=(--secret "id=ca.crt,src=$1/ca.crt")
    fi
    chown "root:$gid" "$1"/*
    chmod 0640 "$1"/*
}

# pip_configured KEY: the machine-wide setting, if there is one.
pip_configured() {
    [[ -r /etc/pip.conf ]] || return 0
    sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" /etc/pip.conf | head -1
}

# label_kernel CONTEXT: a kernelspec is read from an image's labels alone, so its logos go there too.
label_kernel() {
    local file size files labels=(
        --label "io.cellblock.kernelspec.name=python3"
        --label "io.cellblock.kernelspec=$KERNELSPEC"
    )
    local show=(run --rm --network=none "$UNLABELLED_IMAGE")
    files=$(podman_do "${show[@]}" find /usr/share/cellblock/kernelspec -type f -printf '%s %p\n')
    while read -r size file; do
        ((size <= RESOURCE_LIMIT)) || continue
        labels+=(--label "io.cellblock.kernelspec.resource.${file##*/}=$(podman_do "${show[@]}" base64 -w0 "$file")")
    done <<<"$files"
    echo "FROM $UNLABELLED_IMAGE" >"$1/Containerfile"
    podman_do build --layers=false --network=none --pull=never "${labels[@]}" --tag "$KERNEL_IMAGE" "$1"
}

# build_bridge BINARY: an image of nothing but the program and its mount points. Imported rather than built: it is
# made anew at each change of the program.
build_bridge() {
    local hash tree
    hash=$(sha256sum "$1" | cut -d' ' -f1)
    [[ $(image_label "$BRIDGE_IMAGE" io.cellblock.binary) != "$hash" ]] || return 0
    tree=$(mktemp -d)
    mkdir -p "$tree"/{proc,sys,dev,etc,tmp,run/cellblock/{conf,sock,gate}}
    chmod 1777 "$tree/tmp"
    install -m 0755 "$1" "$tree/cellblock"
    tar -C "$tree" --owner=0 --group=0 --numeric-owner -c . |
        podman_do import --change 'ENTRYPOINT ["/cellblock"]' --change "LABEL io.cellblock.binary=$hash" - "$BRIDGE_IMAGE" >&2
    rm -rf "$tree"
    podman_do image prune --force --filter label=io.cellblock.binary >/dev/null
}
