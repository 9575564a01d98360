"""Accumulators: every kind of array, merges, saved forms, and what is refused."""

import copy
import pickle
import struct
import threading
import zlib

import ncollapse as nc
import numpy as np
import pytest
from oracle import EPSILON, class_means, samples

COUNTS = [30, 17, 9, 4]


def gathered(features, labels, classes=4, **keywords):
    accumulator = nc.Accumulator(classes, np.shape(features)[1])
    accumulator.update(features, labels, **keywords)
    return accumulator


def saved(accumulator):
    """The metrics to the last bit."""
    return repr(nc.metrics(accumulator).to_dict())


def test_has_class_means_and_counts_of_numpy():
    features, labels = samples(COUNTS, 7)
    accumulator = gathered(features, labels)
    assert accumulator.counts.tolist() == COUNTS
    assert (accumulator.num_classes, accumulator.width) == (4, 7)
    # Sums of at most 30 numbers of size 4.
    assert np.abs(accumulator.class_means() - class_means(features, labels)).max() <= 30 * 4 * EPSILON


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8", np.int8, np.int64])
def test_reads_every_real_type(dtype):
    features, labels = samples(COUNTS, 7)
    features = (8 * features).astype(dtype)
    expected = gathered(features.astype(np.float64), labels)
    assert saved(gathered(features, labels)) == saved(expected)


def test_reads_every_layout_and_leaves_it_as_it_is():
    features, labels = samples(COUNTS, 6)
    expected = saved(gathered(features, labels))
    wide = np.zeros((len(labels), 12))
    wide[:, ::2] = features
    frozen = features.copy()
    frozen.flags.writeable = False
    reverse = features[::-1].copy()[::-1]
    unaligned = np.frombuffer(b"x" + features.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(features.shape)
    layouts = [np.asfortranarray(features), wide[:, ::2], frozen, reverse, unaligned, features[:, :, None, None],
               features.tolist()]  # fmt: skip
    for layout in layouts:
        assert saved(gathered(layout, labels)) == expected
    assert (frozen == features).all() and not frozen.flags.writeable


def test_reads_a_memory_map(tmp_path):
    features, labels = samples(COUNTS, 6, dtype=np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert saved(gathered(mapped, labels)) == saved(gathered(features, labels))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_reads_every_type_of_labels(dtype):
    features, labels = samples(COUNTS, 3)
    expected = saved(gathered(features, labels))
    assert saved(gathered(features, labels.astype(dtype))) == expected
    assert saved(gathered(features, labels.astype(dtype)[:, None])) == expected
    assert saved(gathered(features, labels.tolist())) == expected


def test_reads_batches_like_one_array_up_to_rounding():
    features, labels = samples([50, 40, 30], 5, dtype=np.float32)
    whole, parts = nc.metrics(gathered(features, labels, 3)), nc.Accumulator(3, 5)
    for start in range(0, 120, 32):
        parts.update(features[start : start + 32], labels[start : start + 32])
    parts.update(features[:0], labels[:0])
    # Two orders of a sum of 120 terms, and a pseudo-inverse of condition about 10.
    assert abs(nc.metrics(parts).nc1 / whole.nc1 - 1) <= 120 * 10 * EPSILON


def test_chunks_of_a_copied_array_are_one_batch(monkeypatch):
    # 2^24 numbers are copied at a time: 70000 x 256 are two chunks.
    rows = 70_000
    features = np.zeros((rows, 256), np.float16)
    labels = np.arange(rows) % 2
    features[:, 0] = 2 * labels - 1 + np.arange(rows) // 2 % 2
    accumulator = gathered(features, labels, 2)
    assert accumulator.counts.tolist() == [rows // 2, rows // 2]
    assert accumulator.class_means()[:, 0].tolist() == [-0.5, 1.5]
    # An error in the second chunk takes back the first.
    features[-1, 3] = np.inf
    with pytest.raises(ValueError, match=r"column 3 of row 69999 .* is inf"):
        accumulator.update(features, labels)
    assert accumulator.counts.sum() == rows


def test_nine_digits_are_left_near_collapse():
    # Classes of spread 1e-6 at distance 1 from each other and 1000 from the origin. NC1 is about 1e-12.
    features, labels = samples([40, 40, 40], 5, spread=0.0)
    noise = np.round(np.random.default_rng(1).standard_normal(features.shape) * 2**10) * 2.0**-30
    features = np.round(features * 2**10) * 2.0**-10 + 1024 + noise
    exact = features.astype(np.longdouble)
    means = np.stack([exact[labels == k].mean(0) for k in range(3)])
    deviations, centered = exact - means[labels], means - means.mean(0)
    # In the plane of the class means, where the pseudo-inverse is an inverse of condition about 10.
    plane = np.linalg.svd(centered.astype(float))[2][:2]
    within = (plane @ deviations.T @ deviations @ plane.T / 120).astype(float)
    between = (plane @ centered.T @ centered @ plane.T / 3).astype(float)
    expected = np.trace(np.linalg.solve(between, within)) / 3
    accumulator = nc.Accumulator(3, 5)
    for start in range(0, 120, 24):
        accumulator.update(features[start : start + 24], labels[start : start + 24])
    assert expected < 1e-11
    # Features and references are multiples of 2^-42, so that their differences are exact; class means are rounded to
    # 2^-42 of distances of about 1, which a condition of 10 makes 2e-12 in each of 3 x 5 numbers.
    assert abs(nc.metrics(accumulator).nc1 / expected - 1) <= 15 * 10 * 2.0**-42


def test_a_merge_is_one_accumulator_up_to_rounding_and_repeats_to_the_bit():
    features, labels = samples(COUNTS, 6)
    parts = [gathered(features[start::3], labels[start::3]) for start in range(3)]

    def merged():
        first = parts[0].copy()
        for other in parts[1:]:
            first.merge(other)
        return first

    assert saved(merged()) == saved(merged())
    assert merged().counts.tolist() == COUNTS and parts[0].counts.sum() == 20
    whole = nc.metrics(gathered(features, labels))
    assert abs(nc.metrics(merged()).nc1 / whole.nc1 - 1) <= 60 * 100 * EPSILON
    # Through bytes, compact or not, a merge gives the same bits.
    for compact in (False, True):
        first = parts[0].copy()
        for other in parts[1:]:
            first.merge(nc.Accumulator.from_bytes(other.to_bytes(compact)))
        assert saved(first) == saved(merged())
    assert len(parts[0].to_bytes(True)) < len(parts[0].to_bytes())


def test_a_worker_sends_nine_bytes_a_number():
    features, labels = samples([40, 30, 20], 24)
    for scatter in (True, False):
        accumulator = nc.Accumulator(3, 24, scatter)
        accumulator.update(features, labels)
        # References and sums, squares, counts and flags, the scatter; and names of fields.
        numbers = 2 * 24 * 3 + 3 * 3 + (24 * 24 if scatter else 0)
        assert len(accumulator.to_bytes(compact=True)) <= 9 * numbers + 512
        # Whole it has the sums of all parts that samples have come to, here all eight.
        assert len(accumulator.to_bytes()) > 9 * numbers


def numbered(features, labels, batches, size, classes=4):
    accumulator = nc.Accumulator(classes, features.shape[1])
    for i in batches:
        accumulator.update(features[i * size : (i + 1) * size], labels[i * size : (i + 1) * size], batch=i)
    return accumulator


def test_numbered_batches_give_the_same_bits_for_any_split_and_any_order_of_merges():
    features, labels = samples([90, 60, 40, 10], 6, dtype=np.float32)
    size, count = 10, 20
    expected = saved(numbered(features, labels, range(count), size))
    rng = np.random.default_rng(0)
    for workers in (2, 3, 7):
        owners = rng.integers(0, workers, count)
        shards = [
            numbered(features, labels, rng.permutation(np.flatnonzero(owners == w)), size) for w in range(workers)
        ]
        while len(shards) > 1:
            i, j = rng.choice(len(shards), 2, replace=False)
            shards[i].merge(pickle.loads(pickle.dumps(shards[j])))
            shards.pop(j)
        assert saved(shards[0]) == expected
    # And up to rounding the stream of all batches.
    stream = nc.metrics(gathered(features, labels)).nc1
    assert abs(nc.metrics(numbered(features, labels, range(count), size)).nc1 / stream - 1) <= 200 * 100 * EPSILON


def test_a_worker_sends_a_part_for_each_sum_of_neighbors():
    width, classes, count = 24, 4, 32
    features, labels = samples([160, 96, 48, 16], width)

    def sent(numbers):
        return len(numbered(features, labels, numbers, 10).to_bytes(compact=True))

    # Means, squares, errors, counts and the scatter; and names of fields. Zeros take 3 bytes.
    numbers = width * classes + 3 * classes + width**2
    part, zeros = 9 * numbers + 512, 3 * numbers + 512
    # One complete subtree.
    assert sent(range(count)) <= part + zeros
    for start, length in ((8, 8), (1, 8), (3, 6), (1, 30), (5, 13), (0, 31)):
        assert sent(range(start, start + length)) <= max(1, 2 * np.log2(length)) * part + zeros
    # None of these has a neighbor. Half of a scatter is zeros.
    assert count / 2 * 5 * numbers < sent(range(0, count, 2)) <= count / 2 * part + zeros


def test_numbers_are_taken_once_and_by_all_or_none():
    features, labels = samples([9, 9], 3)
    first, second = numbered(features, labels, [0, 1], 4, 2), numbered(features, labels, [1, 2], 4, 2)
    with pytest.raises(ValueError, match="batch 1: it has been taken in before"):
        first.merge(second)
    assert first.counts.sum() == 8
    with pytest.raises(ValueError, match="batch 0: it has been taken in before"):
        first.update(features, labels, batch=0)
    with pytest.raises(ValueError, match="batch: none given, the batches before it had numbers"):
        first.update(features, labels)
    stream = gathered(features, labels, 2)
    with pytest.raises(ValueError, match="batch: 0 given, the batches before it had no numbers"):
        stream.update(features, labels, batch=0)
    with pytest.raises(ValueError, match="the batches of one have numbers"):
        stream.merge(first)
    with pytest.raises(ValueError, match="batch: -1 given, whole numbers from 0 on are accepted"):
        nc.Accumulator(2, 3).update(features, labels, batch=-1)


def test_a_pickled_accumulator_goes_on_to_the_same_bits():
    features, labels = samples(COUNTS, 6)
    whole = gathered(features[:30], labels[:30])
    read = pickle.loads(pickle.dumps(whole))
    copied = copy.deepcopy(whole)
    for accumulator in (whole, read, copied):
        accumulator.update(features[30:], labels[30:])
    assert saved(read) == saved(whole) == saved(copied)
    assert pickle.dumps(read) == pickle.dumps(whole)


def test_without_scatter_there_is_no_nc1_but_all_else():
    features, labels = samples(COUNTS, 6)
    plain = nc.Accumulator(4, 6, scatter=False)
    plain.update(features, labels)
    metrics, whole = nc.metrics(plain), nc.metrics(gathered(features, labels))
    assert metrics.nc1 is None and metrics.cdnv == whole.cdnv
    with pytest.raises(ValueError, match="with the scatter given, one without is needed.* the same scatter="):
        plain.merge(gathered(features, labels))
    assert not plain.scatter and gathered(features, labels).scatter
    assert not pickle.loads(pickle.dumps(plain)).to_bytes() == gathered(features, labels).to_bytes()


def test_a_fork_sums_up_about_the_same_references():
    features, labels = samples(COUNTS, 6)
    features = np.round(features * 4)  # whole numbers: no sum rounds
    first = gathered(features, labels)
    shards = [first.fork() for _ in range(3)]
    for start, shard in enumerate(shards):
        assert shard.counts.sum() == 0
        shard.update(features[start::3], labels[start::3])
    forward, back = shards[0].copy(), shards[2].copy()
    [forward.merge(shards[i]) for i in (1, 2)], [back.merge(shards[i]) for i in (1, 0)]
    assert forward.counts.tolist() == COUNTS
    assert np.abs(forward.class_means() - back.class_means()).max() <= 8 * EPSILON * np.abs(features).max()


def test_threads_change_no_bit():
    features, labels = samples([300, 200, 100], 40, dtype=np.float32)
    before = nc.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            nc.set_num_threads(threads)
            assert nc.get_num_threads() == threads
            results.append(saved(gathered(features, labels, 3)))
    finally:
        nc.set_num_threads(before)
    assert results[0] == results[1] == results[2]
    with pytest.raises(ValueError, match="threads: 5000 given, 0 to 1024 are accepted"):
        nc.set_num_threads(5000)


def test_threads_of_python_can_share_an_accumulator():
    features, labels = samples([300, 200, 100], 40)
    accumulator = nc.Accumulator(3, 40)

    def work():
        for _ in range(20):
            accumulator.update(features, labels)
            accumulator.class_means()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert accumulator.counts.tolist() == [80 * 300, 80 * 200, 80 * 100]


def refused(message, features, labels, classes=3, width=4):
    accumulator = nc.Accumulator(classes, width)
    with pytest.raises(ValueError, match=message):
        accumulator.update(features, labels)
    assert accumulator.counts.sum() == 0


def test_refuses_what_is_not_a_batch():
    good, labels = np.ones((5, 4)), np.array([0, 1, 2, 0, 1])
    refused("labels: 4 given, the features have 5 rows", good, labels[:4])
    refused(r"shape of features: 5 x 3 given, 5 x 4 is needed", np.ones((5, 3)), labels)
    refused(r"is it the transpose", np.ones((4, 5)), labels[:4])
    refused(r"features: shape \[5, 4, 7, 7\] given, accepted are \(samples, width\)", np.ones((5, 4, 7, 7)), labels)
    refused(r"features: shape \[5\] given", np.ones(5), labels)
    refused("features: dtype object given, accepted are real numbers", good.astype(object), labels)
    refused("features: dtype complex128 given", good.astype(complex), labels)
    refused("features: dtype <U", good.astype(str), labels)
    refused(r"labels: shape \[5, 3\] given, .* take the argmax", good, np.eye(3)[labels])
    refused("labels: dtype float64 given, accepted are integers", good, labels.astype(float))
    refused("labels: dtype object given", good, labels.astype(object))


@pytest.mark.parametrize("value, name", [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_names_the_row_of_an_entry_that_is_not_finite(value, name, order, dtype):
    features = np.ones((300, 4), dtype, order=order)
    features[217, 2] = value
    message = rf"features: column 2 of row 217 \(counted from 0\) is {name}, finite numbers are needed"
    refused(message, features, np.zeros(300, int))


def test_names_the_row_of_an_entry_whose_square_is_too_large():
    features = np.ones((10, 4))
    features[7, 1] = 1e150
    refused("features: column 1 of row 7 .* is 1e150, sizes below", features, np.zeros(10, int))


def test_names_labels_out_of_range():
    good = np.ones((4, 4))
    refused(
        r"labels: entry 3 .* is 3, accepted are 0 to 2 for 3 classes: are they counted from 1\?", good, [1, 2, 1, 3]
    )
    refused("labels: entry 1 .* is -100, accepted are 0 to 2", good, [0, -100, 1, 2])
    refused("labels: entry 0 .* is 18446744073709551615", good, np.array([2**64 - 1, 0, 0, 0], np.uint64))


def test_refuses_sizes_that_are_not_there():
    with pytest.raises(ValueError, match="num_classes: 0 given, whole numbers from 1 on are accepted"):
        nc.Accumulator(0, 4)
    with pytest.raises(ValueError, match="width: 0 given, whole numbers from 1 on are accepted"):
        nc.Accumulator(3, 0)
    with pytest.raises(ValueError, match="do not fit in memory"):
        nc.Accumulator(3, 2**40)


def test_refuses_to_merge_another_shape_and_itself():
    accumulator = nc.Accumulator(3, 4)
    message = "merge: an accumulator of 2 classes and width 4 given, 3 classes and width 4 are needed"
    with pytest.raises(ValueError, match=message):
        accumulator.merge(nc.Accumulator(2, 4))
    with pytest.raises(ValueError, match="cannot take in itself"):
        accumulator.merge(accumulator)
    with pytest.raises(TypeError):
        accumulator.merge("accumulator")


HEAD = len(b"ncollapse") + 1 + 8 + 4


def sealed(content):
    """Content with its length and its checksum, as it is saved."""
    return b"ncollapse\x01" + struct.pack("<QI", len(content), zlib.crc32(content)) + content


def test_refuses_bytes_of_another_version_or_of_nothing():
    features, labels = samples([5, 4], 3)
    whole = gathered(features, labels, 2).to_bytes()
    data = whole[HEAD:]
    assert sealed(data) == whole
    # The version is the number after its name.
    place = data.index(b"version") + len(b"version")
    assert data[place] == 2
    # 1 is that of older releases, which wrote the empty parts too.
    for version in (1, 3):
        with pytest.raises(ValueError, match=f"accumulator: version {version} of the saved form given, .* version 2"):
            nc.Accumulator.from_bytes(sealed(data[:place] + bytes([version]) + data[place + 1 :]))
    for broken in (b"", b"x", data[:-9], data.replace(b"references", b"referenzes")):
        with pytest.raises(ValueError, match="accumulator"):
            nc.Accumulator.from_bytes(broken)
        with pytest.raises(ValueError, match="accumulator"):
            nc.Accumulator.from_bytes(sealed(broken))
    # Counts that are not those of the sums: a part that has taken in one sample of a class has none.
    place = data.index(b"counts") + len(b"counts")
    counts = list(data[place : place + 3])
    assert counts[0] == 0x82 and max(counts[1:]) > 0
    with pytest.raises(ValueError, match="has no samples, but numbers"):
        nc.Accumulator.from_bytes(sealed(data[:place] + bytes([0x82, 0, 0]) + data[place + 3 :]))


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("batch", [None, 3])
def test_refuses_bytes_of_which_one_bit_is_another(compact, batch):
    features, labels = samples([2, 2], 2)
    accumulator = gathered(features, labels, 2, batch=batch)
    data = accumulator.to_bytes(compact)
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(ValueError, match="accumulator: these bytes"):
                nc.Accumulator.from_bytes(bytes(damaged))
    changed = bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match="these bytes are damaged: their checksum is not the one that was saved"):
        nc.Accumulator.from_bytes(changed)
    with pytest.raises(ValueError, match="damaged"):
        accumulator.__setstate__(changed)
    assert accumulator.to_bytes(compact) == data


def test_refuses_bytes_that_are_cut_short_or_go_on():
    features, labels = samples([2, 2], 2)
    data = gathered(features, labels, 2).to_bytes()
    for other in (data[:-1], data[:HEAD], data[: HEAD - 1], data[:5], data + b"xx"):
        with pytest.raises(ValueError, match="these bytes are damaged or cut short"):
            nc.Accumulator.from_bytes(other)
    with pytest.raises(ValueError, match="accumulator: no bytes given"):
        nc.Accumulator.from_bytes(b"")
    with pytest.raises(ValueError, match="are not an accumulator that was saved by `to_bytes`"):
        nc.Accumulator.from_bytes(b"something else")


def test_reads_bytes_in_whatever_holds_them():
    features, labels = samples([2, 2], 2)
    data = gathered(features, labels, 2).to_bytes()
    for held in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert nc.Accumulator.from_bytes(held).to_bytes() == data
    with pytest.raises(TypeError, match="data: 'text' .str. given, accepted: bytes, a bytearray or a memoryview"):
        nc.Accumulator.from_bytes("text")


def test_refuses_masked_entries_wherever_they_are():
    features, labels = samples([5, 4, 3], 4)
    mask = np.zeros(features.shape, bool)
    accumulator = gathered(np.ma.array(features, mask=mask), np.ma.array(labels), 3)
    assert accumulator.counts.tolist() == [5, 4, 3], "a mask without entries"
    mask[2, 1] = mask[7, 3] = True
    message = "features: an array with 2 masked entries given"
    for dtype in (np.float64, np.float32, np.float16):
        with pytest.raises(ValueError, match=message):
            accumulator.update(np.ma.array(features, mask=mask, dtype=dtype), labels)
    with pytest.raises(ValueError, match="labels: an array with 1 masked entries given"):
        accumulator.update(features, np.ma.array(labels, mask=np.arange(12) == 5))
    assert accumulator.counts.tolist() == [5, 4, 3]
    weights, bias = np.ones((3, 4)), np.ones(3)
    with pytest.raises(ValueError, match="weights: an array with 3 masked entries given"):
        nc.metrics(accumulator, np.ma.array(weights, mask=np.eye(3, 4, dtype=bool)))
    with pytest.raises(ValueError, match="bias: an array with 1 masked entries given"):
        nc.metrics(accumulator, weights, np.ma.array(bias, mask=[0, 1, 0]))
    with pytest.raises(ValueError, match=message):
        nc.measure(np.ma.array(features, mask=mask), labels, weights)


def test_a_fault_of_the_package_is_an_exception_that_is_caught():
    with pytest.raises(RuntimeError, match=r"a fault of ncollapse, .* \(a number is -1\)"):
        nc._native._panic("a number is -1")
    assert issubclass(nc.InternalError, RuntimeError)


def test_is_empty_after_a_reset():
    features, labels = samples(COUNTS, 6)
    for scatter in (True, False):
        accumulator = nc.Accumulator(4, 6, scatter=scatter)
        accumulator.update(features + 1, labels, batch=0)
        accumulator.reset()
        assert accumulator.counts.sum() == 0 and accumulator.scatter == scatter
        accumulator.update(features, labels)
        fresh = nc.Accumulator(4, 6, scatter=scatter)
        fresh.update(features, labels)
        assert accumulator.to_bytes() == fresh.to_bytes()


def test_says_that_an_accumulator_is_empty():
    with pytest.raises(ValueError, match="accumulator: it is empty; samples of every class are needed"):
        nc.metrics(nc.Accumulator(3, 5))
    with pytest.raises(ValueError, match="class 1 .* has 0 samples"):
        nc.metrics(gathered(np.eye(5)[:2], [0, 2], 3))


class OnDevice:
    """An array on a device, of a library that is not PyTorch."""

    shape, dtype = (5, 4), np.dtype(np.float32)

    def __dlpack__(self, **keywords):
        raise BufferError("not on this device")

    def __dlpack_device__(self):
        return 2, 0


class OfLibrary:
    """An array in memory, of a library that has DLPack."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_refuses_arrays_on_a_device_that_nothing_copies():
    refused(r"features: an array on a device \(DLPack's type 2\)", OnDevice(), np.zeros(5, int))


def test_reads_arrays_of_other_libraries_by_dlpack():
    features, labels = samples(COUNTS, 6, dtype=np.float32)
    assert saved(gathered(OfLibrary(features), labels)) == saved(gathered(features, labels))


def test_memory_is_flat_over_ten_thousand_updates():
    resource = pytest.importorskip("resource")
    features, labels = samples([40, 20, 4], 32, dtype=np.float32)
    half, spread = features.astype(np.float16), np.asfortranarray(features)[:, ::-1]
    accumulator = nc.Accumulator(3, 32)

    def updates(count):
        for _ in range(count):
            accumulator.update(features, labels)
            accumulator.update(half, labels)
            accumulator.update(spread, labels.astype(np.uint8))
            with pytest.raises(ValueError):
                accumulator.update(features, labels[:-1])
        return resident()

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    try:
        resident()
    except FileNotFoundError:
        pytest.skip("memory in use is only known on Linux")
    first = updates(500)
    # A leak of one batch in each update would be 9500 x 8 KiB = 78 MB; of one Python object of 64 bytes 600 kB.
    assert updates(9500) - first < 400_000
