"""Accumulators sent between processes of one machine, without any engine."""

import multiprocessing
import pickle

import ncollapse as nc
import numpy as np
import pytest
from oracle import samples

SIZE = 25


def accumulate(numbers):
    features, labels = samples([120, 60, 20], 8, dtype=np.float32)
    accumulator = nc.Accumulator(3, 8)
    for i in numbers:
        accumulator.update(features[i * SIZE : (i + 1) * SIZE], labels[i * SIZE : (i + 1) * SIZE], batch=int(i))
    return accumulator


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_merge_to_the_bits_of_one(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} is not one of this platform")
    nc.metrics(accumulate(range(8)))  # threads of this process are there: a fork does not have them
    with multiprocessing.get_context(method).Pool(2) as pool:
        shards = pool.map(accumulate, [range(0, 8, 2), range(1, 8, 2)])
    merged = shards[1]
    merged.merge(shards[0])
    whole = accumulate(range(8))
    assert nc.metrics(merged).to_dict() == nc.metrics(whole).to_dict()
    assert pickle.dumps(nc.metrics(merged).to_dict()) == pickle.dumps(nc.metrics(whole).to_dict())
