#!/usr/bin/env bash
# Starts a run on GPU nodes of a SLURM cluster, one process per GPU. The job requeues itself after
# preemption.
#
#     launch/slurm.sh [--dry-run] [--help] --config=gpt2_xl --workdir=/shared/runs/xl [more options]
#
# Environment variables, with their defaults in parentheses:
#
# NODES       number of nodes (2)
# GPUS        GPUs per node (8)
# HOURS       time limit of a job (24); a longer run resumes in the next job
# SBATCH      more arguments for sbatch, such as "--partition=a100 --account=us"
#
# The workdir must be on a disk that all nodes share. Processes find each other through SLURM's
# environment variables. SLURM sends SIGTERM two minutes before the time limit and on preemption.
# Then all processes save at the same step and exit with 75, and the job requeues itself.
set -euo pipefail
: "${NODES:=2}" "${GPUS:=8}" "${HOURS:=24}" "${SBATCH:=}"
source "$(dirname "$0")/dry_run.sh"
check_run "$@"

# shellcheck disable=SC2086 # SBATCH holds several words
run sbatch --job-name=pretrain_jax --nodes="$NODES" --ntasks-per-node="$GPUS" \
  --gpus-per-node="$GPUS" --time="$HOURS:00:00" --signal=TERM@120 --requeue --open-mode=append \
  --output=pretrain_jax-%j.log $SBATCH \
  --wrap="srun --kill-on-bad-exit=0 python -m pretrain_jax.main $(printf '%q ' "$@"); code=\$?; if [ \$code -eq 75 ]; then scontrol requeue \$SLURM_JOB_ID; else exit \$code; fi"
