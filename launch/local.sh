#!/usr/bin/env bash
# Tries a multi-host run on this machine: several processes connect in the same way as hosts.
#
#     launch/local.sh [--dry-run] [--help] --config=gpt2_nano --workdir=runs/nano [more options]
#
# Environment variables, with their defaults in parentheses:
#
# PROCESSES   number of processes (2)
# DEVICES     simulated CPU devices per process (4)
# PORT        port of process 0 (12321)
#
# Exits with the first exit code that is not 0. On Ctrl-C, all processes save at the same step and
# exit with 75.
set -euo pipefail
: "${PROCESSES:=2}" "${DEVICES:=4}" "${PORT:=12321}"
source "$(dirname "$0")/dry_run.sh"
check_run "$@"

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
# Background processes do not receive Ctrl-C.
stopped=false
trap 'stopped=true; kill -TERM "${started[@]}" 2>/dev/null || true' INT TERM

code=0
for one in "${started[@]}"; do
  while true; do
    stopped=false last=0
    wait "$one" || last=$?
    $stopped || break # otherwise the signal ended the wait, not the process
  done
  ((code)) || code=$last
done
exit "$code"
