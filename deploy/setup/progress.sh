# shellcheck shell=bash disable=SC2154  # the names of the instance come from lib.sh
# How up tells what it does; sourced by up.

step_number=0
step_job=
step_shower=

# step TEXT: announces the next step.
step() {
    step_number=$((step_number + 1))
    printf '[%d/%d] %s\n' "$step_number" "$steps" "$1"
}

note() { printf '      %s\n' "$*"; }

# long_step LOG COMMAND...: runs COMMAND with its output in a log file and shows that it goes on; when it fails, shows
# the end of the log and ends the script. To be called bare: in a condition bash would not stop at COMMAND's errors.
long_step() {
    local log=$logs/$1.log began=$SECONDS status=0
    shift
    # Process groups of their own, so that all of them can be ended; see stop_step.
    set -m
    ("$@") </dev/null >"$log" 2>&1 &
    step_job=$!
    show_progress "$log" "$began" </dev/null &
    step_shower=$!
    set +m
    wait "$step_job" || status=$?
    step_job=
    stop_step
    [[ ! -t 1 ]] || printf '\r\033[K'
    if ((status)); then
        tail -n 20 "$log" | sed 's/^/      | /' >&2
        die "this step ended with status $status; its whole output is in $log"
    fi
    if ((SECONDS - began >= 3)); then note "done in $((SECONDS - began)) s"; fi
}

# show_progress LOG BEGAN: each second on a terminal, a line every 15 seconds elsewhere.
show_progress() {
    local pause=15 last
    [[ ! -t 1 ]] || pause=1
    while sleep "$pause"; do
        last=$(tail -c 4000 "$1" | tr '\r' '\n' | tr -cd '[:print:]\n' | sed '/^ *$/d' | tail -n 1)
        if [[ -t 1 ]]; then
            printf '\r\033[K      %d s  %s' $((SECONDS - $2)) "${last:0:$((${COLUMNS:-80} - 20))}"
        else
            printf '      %d s  %s\n' $((SECONDS - $2)) "${last:0:100}"
        fi
    done
}

# stop_step: ends the step's command, if one runs, and the showing.
stop_step() {
    [[ -z $step_job ]] || kill -- "-$step_job" 2>/dev/null || true
    [[ -z $step_shower ]] || { kill -- "-$step_shower" && wait "$step_shower"; } 2>/dev/null || true
    step_shower=
}
