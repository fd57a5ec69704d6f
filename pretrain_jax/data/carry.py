"""Batches made ahead of the step that wants them: in a thread, or in processes of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator

import grain
import numpy as np
from absl import flags

from pretrain_jax.errors import ChildLost

Batch = dict[str, np.ndarray]


def carried(
    load: Callable[[int], Batch], steps: int, workers: int, prefetch: int
) -> Generator[Batch, None, None]:
    """load(0), load(1), ... made ahead by Grain, in order; closing it ends its processes."""
    data = grain.MapDataset.range(steps).map(load)
    made = data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain's processes read flags, which only a command parses
            flags.FLAGS.mark_as_parsed()
        made = made.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=prefetch),
            worker_init_fn=_belong_to_run,
        )
    iterator = iter(made)
    try:
        for batch in iterator:
            # What comes from a process lies in memory shared with it, which is wanted back.
            yield {name: np.array(a) for name, a in batch.items()} if workers else batch
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise ChildLost(
            "a process that makes rows (data.workers) must live as long as the run; "
            f"{str(error).partition('. ')[0]}: was there memory for it?"
        ) from error
    finally:
        iterator.close()


def _belong_to_run(_number: int, _of: int) -> None:
    """In a process that makes rows: signals, which a terminal and a scheduler send to all
    processes of a job, are for the run, which then ends this one; so does the run's own end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_run, daemon=True).start()


def _end_with_run() -> None:
    run = multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)
