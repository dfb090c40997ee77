# What batch scripts source: signals, and a place in the queue again. From here on USR1 and TERM are handed on to the command of `run_task`, which saves and stops.
stopped_by="" child=""
forward() {
    stopped_by=$1
    if [[ $child ]]; then kill -s "$1" "$child" 2>/dev/null; fi
}
trap 'forward USR1' USR1 # some time before the limit, see --signal
trap 'forward TERM' TERM # preempted, queued again by someone, or cancelled

# run_task MAX_RESTARTS COMMAND...: returns the command's exit code. A task that had to stop, by its time limit or for a
# job of higher priority, is queued again.
run_task() {
    local max_restarts=$1 code=75 job
    shift
    if [[ ! $stopped_by ]]; then
        "$@" &
        child=$!
        if [[ $stopped_by ]]; then kill -s "$stopped_by" "$child"; fi
        # A signal ends `wait`, but not the command, which saves first.
        while wait "$child"; code=$?; kill -0 "$child" 2>/dev/null; do :; done
        wait "$child"; code=$?
    fi
    # 138 and 143: the signal came before Python listened.
    if [[ $stopped_by && ( $code == 75 || $code == 138 || $code == 143 ) ]]; then
        # Preempted with a time of grace, it runs until that is over; at its time limit, it was not quick enough. It
        # would be over for good then, unlike one that SLURM has queued again; and a cancelled one shall be over.
        job=$(scontrol show job --oneliner "$SLURM_JOB_ID")
        if [[ $job != *" JobState=RUNNING "* && $job != *" Reason=TimeLimit "* ]]; then
            return 75
        fi
        if ((${SLURM_RESTART_COUNT:-0} < max_restarts)); then
            exec scontrol requeue "$SLURM_JOB_ID"
        fi
        echo "stopped after $max_restarts restarts; the same command again goes on" >&2
    fi
    return "$code"
}
