# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# Starting and stopping the two processes of an instance; sourced by up and down.
#
# The front, `cellblock serve`, is a system unit with few rights, or without systemd the script supervise. For the launcher,
# `cellblock launcher`, there are three ways, in order of preference:
# - a unit of the user's own systemd manager, kept by lingering: each container gets a scope of its own with delegated
#   limits, apart from the launcher's unit;
# - with systemd on hybrid cgroups: a system unit that goes by way of enter;
# - without systemd: the script supervise.
# In each, stopping the two stops these only; kernels go on.

readonly STOP_SECONDS=30

user_unit() { echo "$state/.config/systemd/user/$instance-launcher.service"; }
system_unit() { echo "/etc/systemd/system/$instance-launcher.service"; }
front_unit() { echo "/etc/systemd/system/$instance.service"; }
# In earlier versions one process did everything; where the user has a manager it was that one's.
earlier_unit() { echo "$state/.config/systemd/user/$instance.service"; }
delegation() { echo "/etc/systemd/system/user@$uid.service.d/$instance.conf"; }

# prepare_service: what must be there before anything of the instance runs, at each start of the machine.
prepare_service() {
    have_systemd || return 0
    # %b is the machine's start, by which enter knows that these directories are fresh.
    cat >"/etc/tmpfiles.d/$instance.conf" <<TEXT
d $run 0711 root root
f+ $run/boot 0644 root root - %b
d $ns 0700 root root
d $run/kernels 0700 $instance $instance
d $run/xdg 0700 $instance $instance
d $run/engine 0700 $instance $instance
d $run/launcher 0710 $instance $instance
d $run/front 0700 $front $instance
TEXT
    user_manager || return 0
    if [[ ! -e $(delegation) ]]; then
        install -d "$(dirname "$(delegation)")"
        printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$(delegation)"
        systemctl daemon-reload
    fi
    loginctl enable-linger "$instance"
    systemctl start "user@$uid.service"
    wait_until 20 test -S "/run/user/$uid/bus" || die "systemd's manager for user $instance did not start: see journalctl -u user@$uid.service"
}

# wait_until SECONDS COMMAND...: tries COMMAND until it succeeds.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

user_systemctl() { in_instance systemctl --user "$@"; }

service_section() {
    cat <<'TEXT'
Restart=always
RestartSec=1
TimeoutStopSec=30
KillMode=process
LimitNOFILE=65536
LimitCORE=0
OOMPolicy=continue
TEXT
}

user_unit_text() {
    local v
    printf '[Unit]\nDescription=Cellblock launcher (%s)\nStartLimitIntervalSec=0\n\n[Service]\nExecStart=%s launcher\n' "$instance" "$binary"
    instance_env
    for v in "${environment[@]}"; do printf 'Environment="%s"\n' "$v"; done
    service_section
    # Podman believes that containers can have the limits that its own cgroup could have, and systemd hands on only
    # what a unit asks for.
    printf 'CPUWeight=100\nMemoryAccounting=yes\nTasksAccounting=yes\n'
    printf '\n[Install]\nWantedBy=default.target\n'
}

system_unit_text() {
    printf '[Unit]\nDescription=Cellblock launcher (%s)\nStartLimitIntervalSec=0\n\n[Service]\n' "$instance"
    printf 'ExecStart=%s/bin/enter --instance %s -- %s launcher\n' "$state" "$instance" "$binary"
    service_section
    printf '\n[Install]\nWantedBy=multi-user.target\n'
}

# front_unit_text: it needs its own directories, Redis and the network, and not even to see anything else.
front_unit_text() {
    local v environment
    printf '[Unit]\nDescription=Cellblock gateway (%s)\nStartLimitIntervalSec=0\n\n[Service]\nExecStart=%s serve\n' "$instance" "$binary"
    printf 'User=%s\nGroup=%s\n' "$front" "$instance"
    front_env
    for v in "${environment[@]}"; do printf 'Environment="%s"\n' "$v"; done
    service_section
    cat <<TEXT
LimitCORE=0
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths=$state/front $state/redis $run/front
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
TEXT
    printf '\n[Install]\nWantedBy=multi-user.target\n'
}

# units_current: true when the units are there and have no other text than they would get now.
units_current() {
    ! have_systemd || cmp -s - "$(front_unit)" < <(front_unit_text) || return
    if user_manager; then
        as_user cmp -s - "$(user_unit)" < <(user_unit_text)
    elif have_systemd; then
        cmp -s - "$(system_unit)" < <(system_unit_text)
    fi
}

as_user() { setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"; }

write_user_unit() {
    local file
    file=$(user_unit)
    install -d -m 0700 -o "$uid" -g "$gid" "$state/.config/systemd" "$(dirname "$file")"
    user_unit_text | as_user tee "$file" >/dev/null
}

# start_gateway: starts both processes, or starts them again when they run.
start_gateway() {
    if user_manager; then
        write_user_unit
        user_systemctl daemon-reload
        user_systemctl enable --quiet "$instance-launcher.service"
        user_systemctl restart "$instance-launcher.service"
    elif have_systemd; then
        system_unit_text >"$(system_unit)"
        systemctl daemon-reload
        systemctl enable --quiet "$instance-launcher.service"
        systemctl restart "$instance-launcher.service"
    else
        stop_gateway
        in_instance setsid --fork "$state/bin/supervise" "$instance" launcher </dev/null >/dev/null 2>&1
        in_front setsid --fork "$state/bin/supervise" "$instance" serve </dev/null >/dev/null 2>&1
        return
    fi
    front_unit_text >"$(front_unit)"
    systemctl daemon-reload
    systemctl enable --quiet "$instance.service"
    systemctl restart "$instance.service"
}

gateway_runs() {
    if user_manager; then
        user_systemctl is-active --quiet "$instance-launcher.service" && systemctl is-active --quiet "$instance.service"
    elif have_systemd; then
        systemctl is-active --quiet "$instance-launcher.service" "$instance.service"
    else
        supervisor launcher >/dev/null && supervisor serve >/dev/null
    fi
}

# nothing_runs: neither of the two, nor the one of an earlier version.
nothing_runs() { no_orphans serve && no_orphans launcher && (front_uid='' no_orphans serve); }

# part_uid PART: whose process it is.
part_uid() { if [[ $1 == serve ]]; then echo "${front_uid:-$uid}"; else echo "$uid"; fi; }

# supervisor PART: prints its supervisor's process id. The file is the service's own, so what it says is checked.
supervisor() { supervisor_in "$(part_place "$1")/supervise.pid" "$(part_uid "$1")"; }

supervisor_in() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && $(stat -c %u "/proc/$pid" 2>/dev/null) == "$2" ]] || return 1
    if ended "$pid"; then return 1; fi
    echo "$pid"
}

# ended PID: also true while nobody has collected the process: a zombie has no command line.
ended() { ! grep -q . "/proc/$1/cmdline" 2>/dev/null; }

# orphans PART: the processes of the instance that have no supervisor; theirs was killed.
orphans() {
    local dir words
    for dir in /proc/[0-9]*; do
        [[ $(stat -c %u "$dir" 2>/dev/null) == "$(part_uid "$1")" ]] || continue
        mapfile -d '' -t words 2>/dev/null <"$dir/cmdline" || continue
        if [[ ${words[0]:-} == "$binary" && ${words[1]:-} == "$1" ]]; then echo "${dir#/proc/}"; fi
    done
}

no_orphans() { [[ -z $(orphans "$1") ]]; }

# stop_gateway: the front first, which uses the launcher until its end.
stop_gateway() {
    local part pid
    if have_systemd; then
        [[ ! -e $(front_unit) ]] || systemctl disable --quiet --now "$instance.service" || true
    fi
    if user_manager; then
        [[ ! -e $(user_unit) || ! -S /run/user/$uid/bus ]] || user_systemctl disable --quiet --now "$instance-launcher.service" || true
    elif have_systemd; then
        [[ ! -e $(system_unit) ]] || systemctl disable --quiet --now "$instance-launcher.service" || true
    else
        for part in serve launcher; do
            pid=$(supervisor "$part") || pid=
            end_supervised "$part" "$pid"
        done
    fi
}

# end_supervised PART PID: ends a supervisor, if there is one, and what runs without one.
end_supervised() {
    local pids
    if [[ -n $2 ]]; then
        kill -TERM "$2" 2>/dev/null || true
        wait_until "$STOP_SECONDS" ended "$2" || warn "$1 did not come to its end within $STOP_SECONDS s"
    fi
    mapfile -t pids < <(orphans "$1")
    ((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
    wait_until "$STOP_SECONDS" no_orphans "$1" || warn "$1 without its supervisor does not end"
}

# stop_earlier: ends what an earlier version's single process is, or has left: all of it belongs to the instance's user.
stop_earlier() {
    local pid front_uid=
    if user_manager; then
        if [[ -e $(earlier_unit) ]]; then
            [[ ! -S /run/user/$uid/bus ]] || user_systemctl disable --quiet --now "$instance.service" || true
            rm -f "$(earlier_unit)"
        fi
    elif ! have_systemd; then
        pid=$(supervisor_in "$run/supervise.pid" "$uid") || pid=
        end_supervised serve "$pid"
    fi
    wait_until "$STOP_SECONDS" no_earlier_redis || warn "the private Redis of an earlier version does not end"
    rm -f "$run"/{serve.lock,supervise.lock,supervise.pid,redis.sock,podman.sock}
}

# no_earlier_redis: asks the private Redis that ran as the instance's user to end, and is true when there is none.
no_earlier_redis() {
    local dir found=
    for dir in /proc/[0-9]*; do
        if [[ $(stat -c %u "$dir" 2>/dev/null) == "$uid" && $(readlink "$dir/cwd" 2>/dev/null) == "$state/redis" ]]; then
            kill -TERM "${dir#/proc/}" 2>/dev/null || true
            found=yes
        fi
    done
    [[ -z $found ]]
}

# gateway_log [LINES]: shows the last lines that both processes wrote, or without LINES says how to see them.
gateway_log() {
    local command
    if have_systemd; then
        command=(journalctl "_UID=$uid" + "_UID=$front_uid" --no-pager)
    else
        command=(tail "$(part_log launcher)" "$(part_log serve)")
    fi
    if (($#)); then "${command[@]}" --lines "$1"; else echo "${command[*]}"; fi
}

remove_service() {
    have_systemd || return 0
    rm -f "$(system_unit)" "$(front_unit)" "$(user_unit)" "/etc/tmpfiles.d/$instance.conf"
    if user_manager && [[ -n ${uid:-} ]]; then
        loginctl disable-linger "$instance" 2>/dev/null || true
        systemctl stop "user@$uid.service" 2>/dev/null || true
        rm -f "$(delegation)"
        rmdir "$(dirname "$(delegation)")" 2>/dev/null || true
    fi
    systemctl daemon-reload
}
