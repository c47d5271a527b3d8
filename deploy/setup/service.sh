# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# Starting and stopping an instance's gateway; sourced by up and down.
#
# Three ways, in order of preference:
# - a unit of the user's own systemd manager, kept by lingering: each container gets a scope of its own with delegated
#   limits, apart from the gateway's unit;
# - with systemd on hybrid cgroups: a system unit that goes by way of enter;
# - without systemd: the script supervise.
# In each, stopping the gateway stops the gateway only.

readonly STOP_SECONDS=30

user_unit() { echo "$state/.config/systemd/user/$instance.service"; }
system_unit() { echo "/etc/systemd/system/$instance.service"; }
delegation() { echo "/etc/systemd/system/user@$uid.service.d/$instance.conf"; }

# prepare_service: what must be there before anything of the instance runs, at each start of the machine.
prepare_service() {
    have_systemd || return 0
    # %b is the machine's start, by which enter knows that these directories are fresh.
    cat >"/etc/tmpfiles.d/$instance.conf" <<TEXT
d $run 1771 root $instance
f+ $run/boot 0644 root root - %b
d $ns 0700 root root
d $run/kernels 0700 $instance $instance
d $run/xdg 0700 $instance $instance
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
    printf '[Unit]\nDescription=Cellblock gateway (%s)\nStartLimitIntervalSec=0\n\n[Service]\nExecStart=%s serve\n' "$instance" "$binary"
    instance_env
    for v in "${environment[@]}"; do printf 'Environment="%s"\n' "$v"; done
    service_section
    # Podman believes that containers can have the limits that its own cgroup could have, and systemd hands on only
    # what a unit asks for.
    printf 'CPUWeight=100\nMemoryAccounting=yes\nTasksAccounting=yes\n'
    printf '\n[Install]\nWantedBy=default.target\n'
}

system_unit_text() {
    printf '[Unit]\nDescription=Cellblock gateway (%s)\nStartLimitIntervalSec=0\n\n[Service]\n' "$instance"
    printf 'ExecStart=%s/bin/enter --instance %s -- %s serve\n' "$state" "$instance" "$binary"
    service_section
    printf '\n[Install]\nWantedBy=multi-user.target\n'
}

# unit_current: true when the gateway's unit is there and has no other text than it would get now.
unit_current() {
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

# start_gateway: starts it, or starts it again when it runs.
start_gateway() {
    if user_manager; then
        write_user_unit
        user_systemctl daemon-reload
        user_systemctl enable --quiet "$instance.service"
        user_systemctl restart "$instance.service"
    elif have_systemd; then
        system_unit_text >"$(system_unit)"
        systemctl daemon-reload
        systemctl enable --quiet "$instance.service"
        systemctl restart "$instance.service"
    else
        stop_gateway
        in_instance setsid --fork "$state/bin/supervise" "$instance" </dev/null >/dev/null 2>&1
    fi
}

gateway_runs() {
    if user_manager; then
        user_systemctl is-active --quiet "$instance.service"
    elif have_systemd; then
        systemctl is-active --quiet "$instance.service"
    else
        supervisor >/dev/null
    fi
}

# supervisor: prints the supervisor's process id. The file is the service's own, so what it says is checked.
supervisor() {
    local pid
    pid=$(cat "$run/supervise.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && $(stat -c %u "/proc/$pid" 2>/dev/null) == "$uid" ]] || return 1
    if ended "$pid"; then return 1; fi
    echo "$pid"
}

# ended PID: also true while nobody has collected the process: a zombie has no command line.
ended() { ! grep -q . "/proc/$1/cmdline" 2>/dev/null; }

# orphans: the gateways of the instance that have no supervisor; theirs was killed.
orphans() {
    local dir words
    for dir in /proc/[0-9]*; do
        [[ $(stat -c %u "$dir" 2>/dev/null) == "$uid" ]] || continue
        mapfile -d '' -t words 2>/dev/null <"$dir/cmdline" || continue
        if [[ ${words[0]:-} == "$binary" && ${words[1]:-} == serve ]]; then echo "${dir#/proc/}"; fi
    done
}

no_orphans() { [[ -z $(orphans) ]]; }

stop_gateway() {
    local pid pids
    if user_manager; then
        [[ ! -e $(user_unit) || ! -S /run/user/$uid/bus ]] || user_systemctl disable --quiet --now "$instance.service" || true
    elif have_systemd; then
        [[ ! -e $(system_unit) ]] || systemctl disable --quiet --now "$instance.service" || true
    else
        if pid=$(supervisor); then
            kill -TERM "$pid" 2>/dev/null || true
            wait_until "$STOP_SECONDS" ended "$pid" || warn "the gateway did not drain within $STOP_SECONDS s"
        fi
        mapfile -t pids < <(orphans)
        ((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
        wait_until "$STOP_SECONDS" no_orphans || warn "a gateway without its supervisor does not end"
    fi
}

# gateway_log [LINES]: shows the last lines that the gateway wrote, or without LINES says how to see them.
gateway_log() {
    local command
    if user_manager; then
        command=(journalctl "_UID=$uid" --no-pager)
    elif have_systemd; then
        command=(journalctl --unit "$instance" --no-pager)
    else
        command=(tail "$state/log/cellblock.log")
    fi
    if (($#)); then "${command[@]}" --lines "$1"; else echo "${command[*]}"; fi
}

remove_service() {
    have_systemd || return 0
    rm -f "$(system_unit)" "$(user_unit)" "/etc/tmpfiles.d/$instance.conf"
    if user_manager && [[ -n ${uid:-} ]]; then
        loginctl disable-linger "$instance" 2>/dev/null || true
        systemctl stop "user@$uid.service" 2>/dev/null || true
        rm -f "$(delegation)"
        rmdir "$(dirname "$(delegation)")" 2>/dev/null || true
    fi
    systemctl daemon-reload
}
