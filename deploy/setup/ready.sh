# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# The first administrator, the wait for a kernel, and the last words of up.

readonly ADMIN=admin
readonly GATEWAY_SECONDS=30 KERNEL_SECONDS=90

# reachable ADDRESS: where this machine reaches who listens at ADDRESS.
reachable() {
    case ${1%:*} in
        '' | 0.0.0.0 | '[::]') echo "127.0.0.1:${1##*:}" ;;
        *) echo "$1" ;;
    esac
}

# gateway_url: where this machine reaches the gateway.
gateway_url() {
    local address scheme=http base
    address=$(reachable "$(listen_address)")
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
    in_front "$binary" user add "$ADMIN" --admin --exist-ok >"$logs/admin.log" 2>&1 ||
        die "the administrator could not be made: $(tail -n 1 "$logs/admin.log")"
    token=$(in_front "$binary" token create --user "$ADMIN" --name "deploy/up") || die "the administrator's token could not be made"
    (umask 077 && echo "$token" >"$file")
}

# listening ADDRESS: true when the front, or an earlier version's gateway, listens on that port; another program there may answer too.
listening() {
    awk -v port="$(printf ':%04X' "$((10#${1##*:}))")" -v uid="$uid" -v front="$front_uid" '
        $4 == "0A" && ($8 == uid || $8 == front) && substr($2, length($2) - 4) == port { found = 1 }
        END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# check_port: another program at the gateway's address is told of before anything is built or changed.
check_port() {
    local address host
    address=$(reachable "${listen:-$(listen_address)}")
    # What is no address is the program's to explain.
    [[ $address =~ :[0-9]{1,5}$ ]] || return 0
    host=$(tr -d '[]' <<<"${address%:*}")
    # shellcheck disable=SC2016  # the inner shell expands it
    if listening "$address" || ! timeout 2 bash -c ': <"/dev/tcp/$1/$2"' bash "$host" "${address##*:}" 2>/dev/null; then return 0; fi
    die "another program listens at $address: stop it, or choose another address with --listen"
}

# healthy: the front answers, and the launcher answers it.
healthy() {
    listening "$(listen_address)" && curl --silent --fail --insecure --max-time 5 --noproxy '*' "$(gateway_url)/healthz" >"$state/setup/health" &&
        ! grep -q 'launcher does not answer' "$state/setup/health"
}

# give_up TEXT: ends up with what the gateway said last.
give_up() {
    gateway_log 15 2>&1 | sed 's/^/      | /' >&2 || true
    die "$1; above is the end of the gateway's log: $(gateway_log)"
}

# field NAME: the first string of that name in the JSON on standard input.
field() { tr -d '\n' | sed -n -E "s/^[^{]*\\{(.*[,[:space:]])?\"$1\"[[:space:]]*:[[:space:]]*\"([^\"]*)\".*/\\2/p"; }

# ingredients: a fingerprint of what a gateway that starts now runs with.
ingredients() { sha256sum "$binary" "$etc/config.yaml"; }

# start_and_wait: starts the gateway, again when it runs with something else than it would now, and waits until a kernel
# has answered.
start_and_wait() {
    step "Starting the gateway and a first kernel"
    if [[ $(cat "$state/setup/started" 2>/dev/null) != "$(ingredients)" ]] || ! units_current || ! gateway_runs; then
        separate_users
        start_gateway
        ingredients >"$state/setup/started"
    fi
    wait_until "$GATEWAY_SECONDS" healthy ||
        give_up "the gateway does not answer at $(gateway_url)/healthz"
    admin_token
    try_kernel
}

# try_kernel: a kernel is idle once it has answered its bridge.
try_kernel() {
    local answer id model execution='' end=$((SECONDS + KERNEL_SECONDS)) began
    began=$(date +%s%N)
    if ! answer=$(ask /api/kernels --request POST 2>&1); then
        [[ $answer == *'"reason":"quota"'* ]] || give_up "no kernel could be started: $answer"
        note "the administrator has as many kernels as allowed, so none was started for a trial"
        return
    fi
    id=$(field id <<<"$answer")
    until [[ $execution == idle ]]; do
        model=$(ask "/api/kernels/$id" 2>&1) || give_up "the first kernel did not stay: $model"
        execution=$(field execution_state <<<"$model")
        ((SECONDS < end)) || give_up "the first kernel did not answer within $KERNEL_SECONDS s"
        sleep 0.05
    done
    note "a kernel answered after $((($(date +%s%N) - began) / 1000000)) ms"
    ask "/api/kernels/$id" --request DELETE >/dev/null || warn "the kernel of this trial could not be ended"
}

tell_how_to_connect() {
    local url command=cellblock
    [[ $instance == cellblock ]] || command="$state/bin/enter --instance $instance --front -- cellblock"
    ! command -v sudo >/dev/null || command="sudo $command"
    url=$(setting public_url)
    url=${url%/}
    [[ -n $url ]] || url=$(gateway_url)
    if [[ $url == http:* && ! $(listen_address) =~ ^(127\.|localhost:|\[::1\]) ]]; then
        warn "tokens and code of other machines travel unencrypted: set tls in $etc/config.yaml, or put a proxy before it; public_url is the address that people are told"
    fi
    cat <<TEXT

Cellblock is running at $url/
The administrator's token: $token

JupyterLab:  JUPYTER_GATEWAY_AUTH_TOKEN=$token jupyter lab --gateway-url=$url
A browser:   $url/ and sign in with the token
A script:    curl -H "Authorization: token $token" $url/api/kernelspecs

A person more:  $command user add NAME, then $command token create --user NAME
TEXT
}
