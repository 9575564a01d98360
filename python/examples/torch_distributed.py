"""Features of two processes, measured as those of one: torch.distributed with gloo.

    pip install torch
    python torch_distributed.py

Each process takes in a range of batches, by their numbers. All processes then have the same result, to the last bit that
of one process with all batches, however the batches are split.
"""

import os
import pickle
import socket

import ncollapse as nc
import torch
import torch.distributed as dist

BATCHES, SIZE, WIDTH, CLASSES = 24, 128, 32, 10


def batch(number):
    """Batch `number` of the data set, whoever asks for it."""
    generator = torch.Generator().manual_seed(number)
    labels = torch.randint(CLASSES, (SIZE,), generator=generator)
    means = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(10**6))
    return means[labels] + 0.1 * torch.randn(SIZE, WIDTH, generator=generator), labels


def gather(accumulator):
    """All-gather: the accumulators of all processes, merged, in each of them."""
    states = [None] * dist.get_world_size()
    dist.all_gather_object(states, accumulator.to_bytes(compact=True))
    merged = nc.Accumulator(accumulator.num_classes, accumulator.width)
    for state in states:
        merged.merge(nc.Accumulator.from_bytes(state))
    return merged


def accumulate(numbers):
    accumulator = nc.Accumulator(CLASSES, WIDTH)
    for number in numbers:
        features, labels = batch(number)
        accumulator.update(features, labels, batch=number)
    return accumulator


def work(rank, size, port, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    # Numbers in a row: neighbors are summed up before they are sent. Every second number would send each batch.
    merged = gather(accumulate(range(rank * BATCHES // size, (rank + 1) * BATCHES // size)))
    results.put((rank, pickle.dumps(nc.metrics(merged).to_dict())))
    dist.barrier()
    dist.destroy_process_group()


def main(size=2):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = torch.multiprocessing.spawn(work, (size, port, results), nprocs=size, join=False)
    gathered = dict(results.get() for _ in range(size))
    while not processes.join():
        pass
    expected = pickle.dumps(nc.metrics(accumulate(range(BATCHES))).to_dict())
    assert all(result == expected for result in gathered.values())
    metrics = nc.metrics(accumulate(range(BATCHES)))
    print(f"NC1 of {sum(metrics.counts)} samples in {size} processes: {metrics.nc1!r}, to the last bit that of one")
    return gathered, expected


if __name__ == "__main__":
    main()
