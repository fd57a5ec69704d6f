#!/usr/bin/env bash
# Manages a run on a Cloud TPU VM pod: create, install, run, stay (restart after preemption), delete.
#
#     launch/tpu_vm.sh [--dry-run] [--help] create|install|run|stay|delete [options of the run]
#     NAME=xl TYPE=v5litepod-16 launch/tpu_vm.sh stay --config=gpt2_xl --workdir=gs://BUCKET/xl
#
# Environment variables, with their defaults in parentheses:
#
# NAME        name of the TPU (pretrain)
# ZONE        zone of the TPU (us-west4-a)
# TYPE        accelerator type (v5litepod-16, which is v5e:4x4 for --topology)
# VERSION     runtime version (v2-alpha-tpuv5-lite)
# SPOT        --spot, or empty for an on-demand TPU, which is not preempted (--spot)
#
# `install` copies the last commit of this repository to every worker and creates a Python 3.12
# environment there. Put the workdir in a bucket: all workers can reach it, and preemption does not
# delete it. `stay` creates the TPU, installs and runs. When the TPU is preempted, `stay` starts over,
# and the run resumes from its last checkpoint. `stay` ends when the run is done (0) or ends with an
# error other than preemption.
set -euo pipefail
: "${NAME:=pretrain}" "${ZONE:=us-west4-a}" "${TYPE:=v5litepod-16}" "${SPOT=--spot}"
: "${VERSION:=v2-alpha-tpuv5-lite}"
source "$(dirname "$0")/dry_run.sh"
action="${1:-}"
PACKED="${TMPDIR:-/tmp}/pretrain_jax-$NAME.tar"
[[ $# -gt 0 ]] && shift
case "$action" in
  run | stay) check_run "$@" ;;
  create | install | delete) [[ $# -eq 0 ]] || refuse "$action takes no options; received '$1'" ;;
esac

tpu() { run gcloud compute tpus tpu-vm "$1" "${@:2}" --zone="$ZONE"; }
on_all() { tpu ssh "$NAME" --worker=all --command="$1"; }
# shellcheck disable=SC2086 # SPOT may be empty
create() { tpu create "$NAME" --accelerator-type="$TYPE" --version="$VERSION" $SPOT; }
install() {
  run git -C "$(dirname "$0")/.." archive --prefix=pretrain_jax/ --output="$PACKED" HEAD
  tpu scp "$PACKED" "$NAME:pretrain_jax.tar" --worker=all
  on_all "rm -rf pretrain_jax && tar -xf pretrain_jax.tar"
  on_all "pip install --user uv && .local/bin/uv venv --clear --python=3.12 venv"
  on_all ".local/bin/uv pip install --python=venv/bin/python -e 'pretrain_jax[tpu]'"
}
train() {
  on_all "cd pretrain_jax && ../venv/bin/python -m pretrain_jax.main $(printf '%q ' "$@")"
}
delete() { tpu delete "$NAME" --quiet; }
there() {
  local state
  state="$(gcloud compute tpus tpu-vm describe "$NAME" --zone="$ZONE" \
    --format='value(state)' 2>/dev/null)" || return 1
  [[ "$state" == READY ]]
}

case "$action" in
  create | install | delete) "$action" ;;
  run) train "$@" ;;
  stay)
    while true; do
      if $dry_run || ! there; then
        until create; do # a preempted TPU still exists, or there is no capacity
          delete || true
          sleep 60
        done
        install || continue
      fi
      code=0
      train "$@" || code=$?
      $dry_run && break
      case "$code" in
        0 | 64 | 65 | 66 | 71 | 74 | 78 | 81 | 82) exit "$code" ;; # done, or an error that a restart cannot fix
      esac
      sleep 60 # the state of a preempted TPU changes with a delay
    done
    ;;
  *)
    echo "usage: $0 [--dry-run] create|install|run|stay|delete [options of the run]" >&2
    exit 64
    ;;
esac
