# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# The first administrator, the wait for a kernel, and the last words of up.

readonly ADMIN=admin
readonly GATEWAY_SECONDS=30 KERNEL_SECONDS=90

# gateway_url: where this machine reaches the gateway.
gateway_url() {
    local address scheme=http base
    address=$(setting listen)
    case ${address%:*} in
        '' | 0.0.0.0 | '[::]') address=127.0.0.1:${address##*:} ;;
    esac
    ! grep -qE '^  cert: +"?[^"# ]' "$etc/config.yaml" || scheme=https
    base=$(setting base_url)
    echo "$scheme://$address${base%/}"
}

# ask PATH [CURL-OPTION]...: one request as the administrator. The token is not for the process list. A certificate for
# people's name of this machine does not fit the address that is asked here.
ask() {
    local path=$1
    shift
    curl --silent --show-error --fail-with-body --insecure --max-time 30 --noproxy '*' "$@" \
        --config <(printf 'header = "Authorization: token %s"\n' "$token") "$(gateway_url)$path"
}

# admin_token: sets token to the first administrator's: the one of an earlier run while it is good, else a new one.
# Only root can read the file, and root could make a token at any time.
admin_token() {
    local file=$state/setup/admin-token
    token=$(cat "$file" 2>/dev/null) || token=
    if [[ -n $token ]] && ask /api/me >/dev/null 2>&1; then return; fi
    in_instance "$binary" user add "$ADMIN" --admin --exist-ok >"$logs/admin.log" 2>&1 ||
        die "the administrator could not be made: $(tail -n 1 "$logs/admin.log")"
    token=$(in_instance "$binary" token create --user "$ADMIN" --name "deploy/up") || die "the administrator's token could not be made"
    (umask 077 && echo "$token" >"$file")
}

# listening: true when the instance's user listens on the gateway's port; another program there may answer too.
listening() {
    local port
    port=$(setting listen)
    awk -v port="$(printf ':%04X' "${port##*:}")" -v uid="$uid" '
        $4 == "0A" && $8 == uid && substr($2, length($2) - 4) == port { found = 1 }
        END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

healthy() {
    listening && curl --silent --fail --insecure --max-time 5 --noproxy '*' --output /dev/null "$(gateway_url)/healthz"
}

# give_up TEXT: ends up with what the gateway said last.
give_up() {
    gateway_log 15 2>&1 | sed 's/^/      | /' >&2
    die "$1; above is the end of the gateway's log: $(gateway_log)"
}

# field NAME: the first string of that name in the JSON on standard input.
field() { tr -d '\n' | sed -n -E "s/^[^{]*\\{(.*[,[:space:]])?\"$1\"[[:space:]]*:[[:space:]]*\"([^\"]*)\".*/\\2/p"; }

# start_and_wait CHANGED: starts the gateway, again when something has changed, and waits until a kernel has answered.
start_and_wait() {
    step "Starting the gateway and a first kernel"
    if [[ -n $1 ]] || ! unit_current || ! gateway_runs; then start_gateway; fi
    wait_until "$GATEWAY_SECONDS" healthy ||
        give_up "the gateway does not answer at $(gateway_url)/healthz"
    admin_token
    try_kernel
}

# try_kernel: a kernel is idle once it has answered its bridge.
try_kernel() {
    local answer id model state='' end=$((SECONDS + KERNEL_SECONDS)) began
    began=$(date +%s%N)
    answer=$(ask /api/kernels --request POST 2>&1) || give_up "no kernel could be started: $answer"
    id=$(field id <<<"$answer")
    until [[ $state == idle ]]; do
        model=$(ask "/api/kernels/$id" 2>&1) || give_up "the first kernel did not stay: $model"
        state=$(field execution_state <<<"$model")
        ((SECONDS < end)) || give_up "the first kernel did not answer within $KERNEL_SECONDS s"
        sleep 0.05
    done
    note "a kernel answered after $((($(date +%s%N) - began) / 1000000)) ms"
    ask "/api/kernels/$id" --request DELETE >/dev/null || warn "the kernel of this trial could not be ended"
}

tell_how_to_connect() {
    local url command="sudo cellblock"
    [[ $instance == cellblock ]] || command="sudo $here/enter --instance $instance -- cellblock"
    url=$(setting public_url)
    url=${url%/}
    [[ -n $url ]] || url=$(gateway_url)
    cat <<TEXT

Cellblock is running at $url/
The administrator's token: $token

JupyterLab:  JUPYTER_GATEWAY_AUTH_TOKEN=$token jupyter lab --gateway-url=$url
A browser:   $url/login?token=$token
A script:    curl -H "Authorization: token $token" $url/api/kernelspecs

A person more:  $command user add NAME, then $command token create --user NAME
TEXT
}
