#!/usr/bin/env bash
# Starts a run on TPU slices of a GKE cluster with JobSet. The run restarts after preemption.
#
#     launch/gke.sh [--dry-run] [--help] --config=gpt2_xl --workdir=gs://BUCKET/xl [more options]
#
# Environment variables, with their defaults in parentheses:
#
# NAME          name of the JobSet (pretrain)
# IMAGE         container image with pretrain_jax[tpu] (pretrain_jax:latest)
# ACCELERATOR   value of cloud.google.com/gke-tpu-accelerator (tpu-v5-lite-podslice)
# TOPOLOGY      value of cloud.google.com/gke-tpu-topology for a slice (4x4)
# HOSTS         virtual machines per slice (4)
# CHIPS         chips per virtual machine (4)
# SLICES        number of slices (1); more than one needs --config.mesh.dcn=SLICES
#
# Processes find each other through GKE's environment variables. After exit codes such as 75 (stopped
# by a signal, saved) and 134 (another host died), the JobSet restarts and resumes from the last
# checkpoint. Errors that a restart cannot fix (64, 65, 66, 71, 74, 78, 81, 82) end the JobSet.
# --dry-run prints the JobSet.
set -euo pipefail
: "${NAME:=pretrain}" "${IMAGE:=pretrain_jax:latest}" "${SLICES:=1}" "${HOSTS:=4}" "${CHIPS:=4}"
: "${ACCELERATOR:=tpu-v5-lite-podslice}" "${TOPOLOGY:=4x4}"
source "$(dirname "$0")/dry_run.sh"
check_run "$@"

quoted=""
for word in python -m pretrain_jax.main "$@"; do
  word="${word//\\/\\\\}"
  quoted+="\"${word//\"/\\\"}\", "
done

jobset() {
  cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $NAME
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: 1000
    rules:
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: $SLICES
      template:
        spec:
          parallelism: $HOSTS
          completions: $HOSTS
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  operator: In
                  values: [64, 65, 66, 71, 74, 78, 81, 82]
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $ACCELERATOR
                cloud.google.com/gke-tpu-topology: $TOPOLOGY
              containers:
                - name: train
                  image: $IMAGE
                  command: [${quoted%, }]
                  ports:
                    - containerPort: 8471
                    - containerPort: 8476
                  resources:
                    requests: {google.com/tpu: $CHIPS}
                    limits: {google.com/tpu: $CHIPS}
END
}

if $dry_run; then
  jobset
  run kubectl apply -f -
else
  jobset | kubectl apply -f -
fi
