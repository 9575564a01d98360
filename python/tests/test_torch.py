"""PyTorch: tensors of every type, and the monitor of a training."""

import ncollapse as nc
import numpy as np
import pytest
from oracle import samples

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def saved(features, labels, classes=3):
    accumulator = nc.Accumulator(classes, features.shape[1])
    accumulator.update(features, labels)
    return repr(nc.metrics(accumulator).to_dict())


@pytest.fixture(scope="module")
def data():
    features, labels = samples([30, 20, 10], 6, dtype=np.float32)
    return torch.tensor(features), torch.tensor(labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32])
def test_reads_tensors_of_every_type(data, dtype):
    features, labels = data
    features = (8 * features).to(dtype)
    assert saved(features, labels) == saved(features.double().numpy(), labels.numpy())


def test_reads_tensors_as_they_lie(data):
    features, labels = data
    expected = saved(features.numpy(), labels.numpy())
    wide = torch.zeros(60, 12)
    wide[:, ::2] = features
    columns = features.T.contiguous().T
    for tensor in (
        columns,
        wide[:, ::2],
        features[:, :, None, None],
        features.clone().requires_grad_(),
        features.detach(),
    ):
        assert saved(tensor, labels) == expected
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert saved(features, labels.to(dtype)) == expected
    with torch.no_grad():
        assert saved(torch.nn.Parameter(features), labels) == expected


def test_refuses_tensors_of_complex_numbers_and_names_rows(data):
    features, labels = data
    with pytest.raises(ValueError, match="features: dtype torch.complex64 given"):
        saved(features.to(torch.complex64), labels)
    broken = features.to(torch.bfloat16)
    broken[41, 5] = float("nan")
    with pytest.raises(ValueError, match=r"column 5 of row 41 \(counted from 0\) is NaN"):
        saved(broken, labels)


class Cuda:
    """A tensor on a device that is not there: what the package asks of it, and what it copies."""

    copied = []

    def __init__(self, tensor):
        self.tensor, self.shape, self.dtype = tensor, tensor.shape, tensor.dtype

    def detach(self):
        return self

    def __dlpack__(self, **keywords):
        raise BufferError("on a device")

    def __dlpack_device__(self):
        return 2, 0

    def __getitem__(self, rows):
        return Cuda(self.tensor[rows])

    def float(self):
        return Cuda(self.tensor.float())

    def cpu(self):
        self.copied.append(len(self.tensor))
        return self.tensor


def test_copies_tensors_of_a_device_in_chunks(data):
    features, labels = data
    Cuda.copied.clear()
    assert saved(Cuda(features), Cuda(labels)) == saved(features, labels)
    assert Cuda.copied == [60, 60]
    # 2^24 numbers at a time.
    Cuda.copied.clear()
    wide = torch.zeros(300, 2**17)
    wide[:, 0] = torch.arange(300) % 2
    accumulator = nc.Accumulator(2, 2**17, scatter=False)
    accumulator.update(Cuda(wide.half()), torch.arange(300) % 2)
    assert Cuda.copied == [128, 128, 44] and accumulator.counts.tolist() == [150, 150]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_reads_tensors_of_a_gpu(data):
    features, labels = data
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert saved(features.to("cuda", dtype), labels.cuda()) == saved(features.to(dtype), labels)


def test_measures_layers_and_features_of_torch(data):
    features, labels = data
    layer = torch.nn.Linear(6, 3)
    ours = nc.measure(features, labels, layer.weight, layer.bias)
    theirs = nc.measure(features.numpy(), labels.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy())
    assert ours.to_dict() == theirs.to_dict()
    half = nc.measure(features, labels, layer.weight.to(torch.bfloat16), layer.bias.to(torch.bfloat16))
    assert half.row_sum == pytest.approx(ours.row_sum, rel=0.1)
    assert nc.predict(torch.bincount(labels), widths=6, layer_decay=1e-3, feature_decay=1e-3).num_classes == 3


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5))
        self.fc = torch.nn.Linear(8, 3)

    def forward(self, inputs):
        return self.fc(self.body(inputs))


def test_monitor_records_the_features_of_an_epoch(data):
    features, labels = data
    torch.manual_seed(0)
    model = Model()
    monitor = nc.CollapseMonitor(model, head="fc", every=2)
    seen = []
    model.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    for epoch in range(5):
        assert monitor.is_recording == (epoch % 2 == 0)
        seen.clear()
        for batch in torch.arange(60).split(16):
            model(features[batch])
            monitor.update(labels[batch])
        record = monitor.end_epoch()
        assert (record is not None) == (epoch % 2 == 0)
    assert [row["epoch"] for row in monitor.history] == [0, 2, 4] and len(monitor.records) == 3
    accumulator = nc.Accumulator(3, 8)
    for start, batch in zip(range(0, 60, 16), seen):
        accumulator.update(batch, labels[start : start + 16])
    expected = nc.metrics(accumulator, model.fc.weight, model.fc.bias)
    assert monitor.records[-1].to_dict() == expected.to_dict()
    row = monitor.history[-1]
    assert row["nc1"] == expected.nc1 and row["layer_decay"] == expected.implied["squared"]["layer_decay"][0]
    assert "3 epochs recorded" in repr(monitor)


def test_monitor_goes_through_batches_in_evaluation_mode(data):
    features, labels = data
    model = Model()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, labels), batch_size=13, shuffle=True)
    with nc.CollapseMonitor(model, head=model.fc) as monitor:
        record = monitor.end_epoch(loader)
        monitor.every = 2  # this epoch is not recorded, and can be measured
        assert monitor.measure(loader).nc1 == pytest.approx(record.nc1, rel=1e-5) and len(monitor.history) == 1
        assert model.training and monitor.accumulator is None
    model.eval()
    with torch.no_grad():
        expected = nc.measure(model.body(features), labels, model.fc.weight, model.fc.bias)
    # In batches of other sizes PyTorch rounds its features in other ways: 8 sums of 6 terms in float32.
    assert record.nc1 == pytest.approx(expected.nc1, rel=1e-5)
    ours, theirs = (of.implied["cross_entropy"]["layer_decay"][0] for of in (record, expected))
    assert ours == pytest.approx(theirs, rel=1e-5)
    model(features)
    assert monitor._features is None, "the hook is still there"


def test_monitor_plots(data):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    features, labels = data
    monitor = nc.CollapseMonitor(Model())
    for _ in range(3):
        monitor.model(features)
        monitor.update(labels)
        monitor.end_epoch()
    assert [axis.get_xlabel() for axis in monitor.plot().axes] == ["epoch", "epoch"]


def test_monitor_refuses_what_it_cannot_watch(data):
    features, labels = data
    with pytest.raises(ValueError, match="the model has no module 'classifier'; those with a matrix are body.0, fc"):
        nc.CollapseMonitor(Model(), head="classifier")
    with pytest.raises(ValueError, match="head: ReLU.* given, a linear layer with a weight"):
        nc.CollapseMonitor(Model(), head="body.1")
    with pytest.raises(ValueError, match="every: 0 given"):
        nc.CollapseMonitor(Model(), every=0)
    monitor = nc.CollapseMonitor(Model())
    with pytest.raises(ValueError, match="no forward pass through the head"):
        monitor.update(labels)
    monitor.model(features)
    with pytest.raises(ValueError, match="labels: 59 given, the features have 60 rows"):
        monitor.update(labels[1:])
    with pytest.raises(TypeError, match="loss given without batches"):
        monitor.model(features), monitor.update(labels), monitor.end_epoch(loss="squared")
