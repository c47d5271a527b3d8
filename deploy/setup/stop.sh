# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# Ending all that belongs to an instance; sourced by down.

# stop_engine: the containers by way of Podman, so that it forgets them too. Whatever Podman cannot do, the next
# function does; a broken engine must not keep an instance alive.
stop_engine() {
    [[ -e $etc/containers.conf ]] || return 0
    # Without the user's manager nothing runs, and Podman cannot either: this is a second down.
    if user_manager && [[ ! -S /run/user/$uid/bus ]]; then return; fi
    in_instance timeout 60 podman rm --all --force --time 0 >/dev/null 2>&1 ||
        warn "Podman did not remove the containers; their processes are ended now"
    # What a kernel and its bridge shared. Workspaces are volumes too, and stay.
    in_instance timeout 60 podman volume prune --force --filter label=io.cellblock.role=sockets >/dev/null 2>&1 || true
}

# instance_pids: the processes that run as one of the users or of the subordinate ids. Nobody else has these.
instance_pids() {
    local range start count
    range=$(awk -F: -v u="$instance" '$1 == u { print $2, $3; exit }' /etc/subuid)
    read -r start count <<<"${range:-0 0}"
    cat /proc/[0-9]*/status 2>/dev/null | awk -v u="$uid" -v f="${front_uid:-$uid}" -v s="$start" -v n="$count" '
        /^Pid:/ { pid = $2 }
        /^State:/ { zombie = $2 == "Z" }
        /^Uid:/ && !zombie && ($2 == u || $2 == f || $2 >= s && $2 < s + n) { print pid }'
}

no_processes() { [[ -z $(instance_pids) ]]; }

# end_processes: first politely, for Redis writes its data then.
end_processes() {
    local signal pids
    for signal in TERM KILL; do
        mapfile -t pids < <(instance_pids)
        ((${#pids[@]} == 0)) || kill "-$signal" "${pids[@]}" 2>/dev/null || true
        if wait_until 10 no_processes; then return; fi
    done
    die "these processes of '$instance' do not end: $(instance_pids | tr '\n' ' ')"
}

# remove_namespace: the namespace goes with its last process and mount, the cgroup by hand.
remove_namespace() {
    # shellcheck disable=SC2016  # the inner shell expands it
    local remove='find "$1" -depth -type d -exec rmdir {} + 2>/dev/null'
    if mountpoint -q "$ns/mnt"; then
        nsenter --mount="$ns/mnt" -- sh -c "$remove" sh "$(own_cgroup)" || true
        umount "$ns/mnt"
    elif ! user_manager && pure_cgroup2; then
        sh -c "$remove" sh "$(own_cgroup)" || true
    fi
    if mountpoint -q "$ns"; then umount "$ns"; fi
}

# remove_user: also Podman's locks, which lie outside of the instance's directories. userdel takes the subordinate ids
# along where it knows of them; older ones do not.
remove_user() {
    if instance_ids; then rm -f "/dev/shm/libpod_rootless_lock_$uid"; fi
    ! getent passwd "$front" >/dev/null || userdel "$front" 2>/dev/null
    ! getent passwd "$instance" >/dev/null || userdel "$instance" 2>/dev/null
    ! getent group "$instance" >/dev/null || groupdel "$instance"
    sed -i "/^$instance:/d" /etc/subuid /etc/subgid
}
