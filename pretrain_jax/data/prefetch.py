"""Prefetching of batches, in a thread or in worker processes."""

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


def prefetch_batches(
    load: Callable[[int], Batch], steps: int, workers: int, prefetch: int
) -> Generator[Batch, None, None]:
    """load(0), load(1), ... in order, prefetched by Grain.

    Closing the generator ends its processes.
    """
    data = grain.MapDataset.range(steps).map(load)
    made = data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch))
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain's processes need parsed flags
            flags.FLAGS.mark_as_parsed()
        made = made.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=prefetch),
            worker_init_fn=_follow_main_process,
        )
    iterator = iter(made)
    try:
        for batch in iterator:
            # An array from a process is in shared memory, which the process will reuse.
            yield {name: np.array(a) for name, a in batch.items()} if workers else batch
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):
            raise
        raise ChildLost(
            "a worker process (data.workers) must run as long as the training; "
            f"{str(error).partition('. ')[0]}. Did it run out of memory?"
        ) from error
    finally:
        iterator.close()


def _follow_main_process(_number: int, _of: int) -> None:
    """In a worker process: ignores signals, and exits when the main process does.

    A terminal and a scheduler send signals to all processes of a job. The main process handles
    them and then ends its workers.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_main_process, daemon=True).start()


def _exit_with_main_process() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
