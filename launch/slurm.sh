#!/usr/bin/env bash
# A run on the GPU nodes of a SLURM cluster, one process for each GPU, requeued when preempted.
#
#     launch/slurm.sh [--dry-run] [--help] --config=configs/gpt2_xl.py --workdir=/shared/runs/xl [more options]
#
# NODES       how many (2)
# GPUS        of each node (8)
# HOURS       time limit of a job (24); longer runs go on in the next job
# SBATCH      more words for sbatch: "--partition=a100 --account=us"
#
# The workdir must be on a disk that all nodes see. Processes find each other through SLURM's
# environment. Two minutes before the time limit, and on preemption, SLURM sends SIGTERM: all
# processes save at one step and end with 75, upon which the job puts itself back into the queue.
set -euo pipefail
: "${NODES:=2}" "${GPUS:=8}" "${HOURS:=24}" "${SBATCH:=}"
source "$(dirname "$0")/dry_run.sh"
check_run "$@"

# shellcheck disable=SC2086 # SBATCH is several words
run sbatch --job-name=pretrain_jax --nodes="$NODES" --ntasks-per-node="$GPUS" \
  --gpus-per-node="$GPUS" --time="$HOURS:00:00" --signal=TERM@120 --requeue --open-mode=append \
  --output=pretrain_jax-%j.log $SBATCH \
  --wrap="srun --kill-on-bad-exit=0 python -m pretrain_jax.main $(printf '%q ' "$@"); code=\$?; if [ \$code -eq 75 ]; then scontrol requeue \$SLURM_JOB_ID; else exit \$code; fi"
