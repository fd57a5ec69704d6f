#!/usr/bin/env bash
# Several processes on this machine, joined as several hosts would be: to try a run of many hosts.
#
#     launch/local.sh [--dry-run] --config=configs/gpt2_nano.py --workdir=runs/nano [more options]
#
# PROCESSES   how many (2)
# DEVICES     simulated CPU devices of each process (4)
# PORT        of process 0 (12321)
#
# Ends with the first exit code that is not 0. Ctrl-C stops all of them, saved at one step (75).
set -euo pipefail
: "${PROCESSES:=2}" "${DEVICES:=4}" "${PORT:=12321}"
source "$(dirname "$0")/dry_run.sh"

flags="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$DEVICES"
started=()
for ((process = 0; process < PROCESSES; process++)); do
  command=(env JAX_PLATFORMS=cpu XLA_FLAGS="$flags" python -m pretrain_jax.main "$@"
    --coordinator="127.0.0.1:$PORT" --processes="$PROCESSES" --process="$process")
  if $dry_run; then
    run "${command[@]}"
  else
    "${command[@]}" &
    started+=($!)
  fi
done
$dry_run && exit
trap 'kill -TERM "${started[@]}"' TERM
trap '' INT # the terminal has told all of them

code=0
for one in "${started[@]}"; do
  until wait "$one"; do
    last=$?
    kill -0 "$one" 2>/dev/null && continue # a signal, not the end
    ((code)) || code=$last
    break
  done
done
exit "$code"
