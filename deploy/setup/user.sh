# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# The instance's user, its subordinate ids, directories and configuration; sourced by up.

# One container user per tenant and kernel is drawn from this many ids.
readonly SUBORDINATE_IDS=4194304

make_user() {
    if ! getent passwd "$instance" >/dev/null; then
        groupadd --system "$instance" 2>/dev/null || true
        useradd --system --gid "$instance" --home-dir "$state" --no-create-home --shell /usr/sbin/nologin \
            --comment "Cellblock kernels" "$instance"
    fi
    instance_ids
    # The same group: both read the configuration. What is below the instance's directories is open to its owner only.
    getent passwd "$front" >/dev/null ||
        useradd --system --gid "$instance" --home-dir "$state/front" --no-create-home --shell /usr/sbin/nologin \
            --comment "Cellblock gateway" "$front"
    front_id
    make_ids
}

# make_ids: gives the user the first aligned range of ids that nobody holds, the same for users and groups.
make_ids() {
    local have start
    have=$(awk -F: -v u="$instance" '$1 == u { print $3 }' /etc/subuid 2>/dev/null | sort -n | tail -1)
    if [[ ${have:-0} -ge $SUBORDINATE_IDS ]]; then return; fi
    [[ -z $have ]] || die "user $instance has only $have subordinate ids in /etc/subuid; $SUBORDINATE_IDS are needed. Remove its lines there and in /etc/subgid, then run this again"
    touch /etc/subuid /etc/subgid
    exec {lock}>>/etc/subuid
    flock "$lock"
    start=$(free_range)
    echo "$instance:$start:$SUBORDINATE_IDS" >>/etc/subuid
    echo "$instance:$start:$SUBORDINATE_IDS" >>/etc/subgid
    exec {lock}>&-
}

# free_range: prints the start of a range that overlaps no other range and no user or group.
free_range() {
    {
        awk -F: 'NF == 3 { print $2, $2 + $3 }' /etc/subuid /etc/subgid
        { getent passwd; getent group; } | awk -F: '{ print $3, $3 + 1 }'
    } | awk -v n="$SUBORDINATE_IDS" '
        { from[NR] = $1; to[NR] = $2 }
        END {
            for (start = 4 * n; start + n < 2 ^ 31; start += n) {
                free = 1
                for (i = 1; i <= NR && free; i++) if (from[i] < start + n && start < to[i]) free = 0
                if (free) { printf "%d\n", start; exit }
            }
        }'
}

make_directories() {
    install -d -m 0750 -o root -g "$gid" "$etc"
    # As /run/INSTANCE: see ensure_run.
    [[ -d $state ]] || install -d -m 0711 -o root -g root "$state"
    install -d -m 0755 -o root -g root "$state/bin"
    install -d -m 0700 -o root -g root "$state/setup"
    install -d -m 0750 -o root -g root "$logs"
    install -d -m 0700 -o "$uid" -g "$gid" "$state"/{containers,workspaces,log,.config,.config/containers,.cache,.local}
    install -d -m 0700 -o "$front_uid" -g "$gid" "$state/front"
    ensure_run
}

# separate_users: gives the front what is its own. In an earlier version one user had everything: its gateway ends first,
# and the private Redis with it; kernels go on.
separate_users() {
    if [[ $(stat -c '%u %a' "$state" "$run" "$state/redis" 2>/dev/null | tr '\n' ' ') != "0 711 0 711 $front_uid 700 " ]]; then
        stop_gateway
        stop_earlier
        install -d -m 0700 -o "$front_uid" -g "$gid" "$state/redis"
        chown -R --no-dereference "$front_uid:$gid" "$state/redis"
        chown root:root "$state" "$run"
        chmod 0711 "$state" "$run"
    fi
    # The front cannot make it, for the directory is root's.
    [[ -e $state/secret.key ]] || (umask 077 && head -c 32 /dev/urandom | base64 >"$state/secret.key")
    chown --no-dereference "$front_uid:$gid" "$state/secret.key"
}

# write_file PATH: replaces a root-owned file, readable by the instance, with standard input.
write_file() {
    local new=$1.new
    cat >"$new"
    chown "root:$gid" "$new"
    chmod 0640 "$new"
    mv "$new" "$1"
}

write_engine_files() {
    local manager=cgroupfs xdg
    xdg=$(runtime_dir)
    if user_manager; then manager=systemd; fi
    write_file "$etc/containers.conf" <<TEXT
# Podman's settings for the Cellblock instance $instance. Written by deploy/up at each run: change it there.
[containers]
http_proxy = false
default_sysctls = []
# The gateway sets each kernel's limits; a general one fails where the controller is not delegated.
pids_limit = 0
[engine]
cgroup_manager = "$manager"
events_logger = "file"
runtime = "crun"
hooks_dir = ["$etc/hooks.d"]
volume_path = "$state/workspaces"
stop_timeout = 2
TEXT
    install -d -m 0750 -o root -g "$gid" "$etc/hooks.d"
    write_file "$etc/storage.conf" <<TEXT
# Podman's storage for the Cellblock instance $instance. Written by deploy/up at each run: change it there.
[storage]
driver = "overlay"
graphroot = "$state/containers"
# Podman 4 looks at this one when it has no root.
rootless_storage_path = "$state/containers"
runroot = "$xdg/containers"
[storage.options.overlay]
mountopt = "nodev"
TEXT
    # Nothing is taken from a registry unless an administrator says so here or by up --base.
    [[ -e $etc/policy.json ]] || write_file "$etc/policy.json" <<'TEXT'
{
  "default": [{"type": "reject"}],
  "transports": {
    "containers-storage": {"": [{"type": "insecureAcceptAnything"}]},
    "docker-archive": {"": [{"type": "insecureAcceptAnything"}]},
    "oci-archive": {"": [{"type": "insecureAcceptAnything"}]},
    "oci": {"": [{"type": "insecureAcceptAnything"}]},
    "dir": {"": [{"type": "insecureAcceptAnything"}]},
    "tarball": {"": [{"type": "insecureAcceptAnything"}]}
  }
}
TEXT
    ln -sfn "$etc/policy.json" "$state/.config/containers/policy.json"
}
