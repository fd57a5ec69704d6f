"""Trackers of experiments: reporting.trackers=("wandb",) is trackers/wandb.py.

Each file defines open_run(workdir, name, config) -> (log, close):

    workdir    folder of the run; its absolute path identifies the run, so that resumed runs go on
    name       of the run, for people
    config     the resolved config as nested dicts
    log        log(step, {"train/loss": 4.25, ...}), finite numbers
    close      close(): everything is written

All options of a tracker are its own environment variables. An exception of any of these functions
ends the tracker, never the run (reporting/tracking.py).
"""
