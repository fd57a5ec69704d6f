#!/usr/bin/env bash
# A run on TPU slices of a GKE cluster that has JobSet, restarted when preempted.
#
#     launch/gke.sh [--dry-run] [--help] --config=configs/gpt2_xl.py --workdir=gs://BUCKET/xl [more options]
#
# NAME          of the JobSet (pretrain)
# IMAGE         a container with pretrain_jax[tpu] and its configs (pretrain_jax:latest)
# ACCELERATOR   cloud.google.com/gke-tpu-accelerator (tpu-v5-lite-podslice)
# TOPOLOGY      cloud.google.com/gke-tpu-topology of a slice (4x4)
# HOSTS         virtual machines of a slice (4)
# CHIPS         of each virtual machine (4)
# SLICES        how many (1); more than one needs --config.mesh.dcn=SLICES
#
# GKE tells the processes of each other in their environment. 75 (stopped by a signal, saved), 134
# (another host is gone) and the like restart the whole JobSet, which goes on from the last
# checkpoint; what a restart cannot mend (64, 65, 66, 71, 74, 78, 81, 82) ends it.
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
