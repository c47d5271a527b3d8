# shellcheck shell=bash disable=SC2034,SC2154  # names are shared with those who source this
# Names, places and the mount namespace of one Cellblock instance; sourced by enter, up, down and supervise.
#
# An instance is a system user with everything that belongs to it. Two instances share nothing but the code.

# All names begin alike, since down --purge removes /etc/NAME and /var/lib/NAME. The length keeps user names and the
# paths of sockets within their limits.
readonly INSTANCE_PATTERN='^cellblock(-[a-z0-9]{1,14})?$'
readonly CLEAN_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
# needs_value OPTION [VALUE]: for the options that take one.
needs_value() { [[ -n ${2:-} ]] || die "$1 needs a value (see $0 --help)"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# set_instance NAME: sets the names of all places of the instance.
set_instance() {
    [[ $1 =~ $INSTANCE_PATTERN ]] || die "an instance is called cellblock, or cellblock- and up to 14 small letters and digits, and not '$1'"
    instance=$1
    etc=/etc/$instance
    state=/var/lib/$instance
    run=/run/$instance
    logs=/var/log/$instance
    ns=$run/ns
    # The network reaches processes of this user; those of the instance's own start kernels. No instance is called so.
    front=${instance}_front
    if [[ $instance == cellblock ]]; then binary=/usr/local/bin/cellblock; else binary=$state/bin/cellblock; fi
    shim=$(dirname "$binary")/cellblock-shim
    hook=$etc/hooks.d/cellblock.json
}

# instance_ids: sets uid and gid; fails when the user does not exist.
instance_ids() {
    local entry
    entry=$(getent passwd "$instance") || return 1
    IFS=: read -r _ _ uid gid _ <<<"$entry"
}

# front_id: sets front_uid; fails when the front has no user of its own, as in an instance of an earlier version.
front_id() { front_uid=$(id -u "$front" 2>/dev/null); }

have_systemd() { [[ -d /run/systemd/system ]]; }
pure_cgroup2() { [[ $(stat -f -c %T /sys/fs/cgroup 2>/dev/null) == cgroup2fs ]]; }
# The user's own systemd manager can give each container a delegated cgroup only on a pure cgroup2 host.
user_manager() { have_systemd && pure_cgroup2; }

# runtime_dir: where Podman and the user's systemd manager look for XDG_RUNTIME_DIR.
runtime_dir() { if user_manager; then echo "/run/user/$uid"; else echo "$run/xdg"; fi; }

# instance_env: sets the array environment, which is all that a process of the instance sees.
instance_env() {
    local xdg
    xdg=$(runtime_dir)
    environment=(
        "HOME=$state" "USER=$instance" "LOGNAME=$instance" "PATH=$state/bin:$CLEAN_PATH" "LANG=C.UTF-8"
        "XDG_RUNTIME_DIR=$xdg"
        "CONTAINERS_CONF=$etc/containers.conf" "CONTAINERS_STORAGE_CONF=$etc/storage.conf"
        "CELLBLOCK_CONFIG=$etc/config.yaml"
    )
    if user_manager; then environment+=("DBUS_SESSION_BUS_ADDRESS=unix:path=$xdg/bus"); fi
}

# front_env: the same for a process of the front.
front_env() {
    environment=(
        "HOME=$state/front" "USER=$front" "LOGNAME=$front" "PATH=$state/bin:$CLEAN_PATH" "LANG=C.UTF-8"
        "CELLBLOCK_CONFIG=$etc/config.yaml"
    )
}

# in_instance COMMAND...: by way of enter, in the scripts that hold the instance's lock: what a command leaves running
# must not go on holding it.
in_instance() {
    (
        exec {lock_fd}<&-
        exec "$here/enter" --instance "$instance" -- "$@"
    )
}

# in_front COMMAND...: the same for the front's user.
in_front() {
    (
        exec {lock_fd}<&-
        exec "$here/enter" --instance "$instance" --front -- "$@"
    )
}

# The two parts of an instance are called as their commands: launcher, and serve, which is the front.
part_place() { if [[ $1 == serve ]]; then echo "$run/front"; else echo "$run/engine"; fi; }
part_log() { if [[ $1 == serve ]]; then echo "$state/front/cellblock.log"; else echo "$state/log/launcher.log"; fi; }

# lock_instance: one up or down at a time.
lock_instance() {
    install -d -m 0750 "$logs"
    exec {lock_fd}<"$logs"
    flock --nonblock "$lock_fd" || die "another up or down of '$instance' is at work"
}

# ensure_run: makes /run/INSTANCE and its namespace when they are missing, as after a start of the machine.
#
# /run and /var/lib/INSTANCE belong to root, and nobody else makes entries there: neither of the two users can put or
# swap what the other one looks for. Everybody may pass, for Podman insists on it; what lies below is closed to others.
# As whom the launcher is heard is told by whose these directories are (cmd/cellblock/places.go).
ensure_run() {
    local boot now fd
    now=$(</proc/sys/kernel/random/boot_id)
    now=${now//-/}
    boot=$(cat "$run/boot" 2>/dev/null) || boot=
    if [[ $boot == "$now" && -d $run/kernels ]] && namespace_ready && { [[ -d $run/front ]] || ! front_id; }; then return; fi
    exec {fd}<"$state"
    flock "$fd"
    # Where /run is no tmpfs, what lies there from before the last start is stale: nothing of it can be running.
    if [[ -n $boot && $boot != "$now" ]]; then rm -rf --one-file-system "$run"; fi
    # An earlier version's mode stays until its gateway has ended; see separate_users.
    [[ -d $run ]] || install -d -m 0711 -o root -g root "$run"
    echo "$now" >"$run/boot"
    install -d -m 0700 -o root -g root "$ns"
    install -d -m 0700 -o "$uid" -g "$gid" "$run/kernels" "$run/xdg" "$run/engine"
    install -d -m 0710 -o "$uid" -g "$gid" "$run/launcher"
    ! front_id || install -d -m 0700 -o "$front_uid" -g "$gid" "$run/front"
    make_cgroup_and_namespace
    exec {fd}<&-
}

# own_cgroup: the cgroup of the instance where no systemd gives it one, seen from inside its namespace.
own_cgroup() { echo "/sys/fs/cgroup/$instance"; }

# namespace_ready: true when enter has nothing left to make.
namespace_ready() {
    user_manager && return
    if pure_cgroup2; then [[ -d $(own_cgroup)/host ]]; else mountpoint -q "$ns/mnt"; fi
}

# make_cgroup_and_namespace: crun refuses hybrid cgroups. There, all of the instance runs in one lasting mount
# namespace that has a pure cgroup2 at /sys/fs/cgroup; the machine's own mounts stay as they are. One for all, since
# Podman's processes must see the same mounts.
make_cgroup_and_namespace() {
    namespace_ready && return
    # shellcheck disable=SC2016  # the inner shell expands it
    local make_cgroup='
        set -eu
        mkdir -p "$1/host"
        for c in cpu memory pids io cpuset; do
            echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control || true
            echo "+$c" >"$1/cgroup.subtree_control" || true
        done 2>/dev/null
        chown "$2:$3" "$1" "$1"/cgroup.procs "$1"/cgroup.threads "$1"/cgroup.subtree_control \
            "$1"/host "$1"/host/cgroup.procs "$1"/host/cgroup.threads "$1"/host/cgroup.subtree_control'
    if pure_cgroup2; then
        # In a container the mount may be read-only; the instance then stays in the cgroup it is started in.
        sh -c "$make_cgroup" sh "$(own_cgroup)" "$uid" "$gid" 2>/dev/null || true
        return
    fi
    # A pause process of an earlier namespace would keep Podman in the old mounts.
    end_pause_process
    # A namespace can be bound only on a mount that propagates nowhere.
    mountpoint -q "$ns" || mount -t tmpfs -o size=64k,mode=0700 "$instance" "$ns"
    mount --make-private "$ns"
    : >"$ns/mnt"
    lasting_namespace sh -c "
        mount --make-rshared /  # Podman warns about less
        umount -R /sys/fs/cgroup 2>/dev/null
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
        $make_cgroup" sh "$(own_cgroup)" "$uid" "$gid"
}

# lasting_namespace COMMAND...: a mount namespace that stays, bound at $ns/mnt, in which COMMAND has run. A namespace can
# be bound only in an older one, and newer kernels tell the age by numbers that they hand out per processor: inside a
# container, what one processor makes may look older than where we are. On the one that made this namespace it never does.
lasting_namespace() {
    local cpu
    for cpu in $(seq 0 $(($(nproc --all) - 1))); do
        taskset --cpu-list "$cpu" true 2>/dev/null || continue
        if taskset --cpu-list "$cpu" unshare --mount="$ns/mnt" --propagation slave "$@" 2>"$ns/error"; then return; fi
    done
    die "no mount namespace can be kept at $ns/mnt: $(tail -n 1 "$ns/error")"
}

# end_pause_process: ends the process that holds the user's rootless namespaces, if it is one of theirs.
end_pause_process() {
    local pid
    pid=$(cat "$run/xdg/libpod/tmp/pause.pid" 2>/dev/null) || return 0
    if [[ $pid =~ ^[0-9]+$ && $(stat -c %u "/proc/$pid" 2>/dev/null) == "$uid" ]]; then kill -9 "$pid" 2>/dev/null || true; fi
    rm -f "$run/xdg/libpod/tmp/pause.pid"
}
