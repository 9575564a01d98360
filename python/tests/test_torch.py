"""PyTorch: tensors of every type, and the monitor of a training."""

import copy
import gc
import weakref

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


def test_reads_what_a_tensor_stands_for_and_not_what_lies_in_memory(data):
    features, labels = data
    # torch marks the imaginary part of a conjugate as negative, and leaves the memory as it is.
    negative = (features.double() * 1j).conj().imag
    assert negative.is_neg() and not (-features).is_neg()
    assert saved(negative, labels) == saved(-features.double(), labels)
    weights = (torch.ones(3, 6, dtype=torch.double) * 1j).conj().imag
    bias = (torch.ones(3, dtype=torch.double) * 1j).conj().imag
    expected = nc.measure(features, labels, -torch.ones(3, 6), -torch.ones(3))
    assert nc.measure(features, labels, weights, bias).to_dict() == expected.to_dict()


def test_refuses_tensors_without_numbers_in_memory(data):
    features, labels = data
    for sparse in (features.to_sparse(), features.to_sparse_csr()):
        with pytest.raises(ValueError, match=r"features: a tensor of layout torch.sparse_cs?\w+ given, dense tensors"):
            saved(sparse, labels)
    with pytest.raises(ValueError, match="features: a tensor on the device meta given"):
        saved(features.to("meta"), labels)
    with pytest.raises(ValueError, match="labels: a tensor on the device meta given"):
        saved(features, labels.to("meta"))


def test_measures_the_batches_of_a_loader(data):
    features, labels = data
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, labels), batch_size=13)
    assert isinstance(next(iter(loader)), list)
    weights = torch.ones(3, 6)
    expected = nc.measure_batches(list(zip(features.split(13), labels.split(13))), weights)
    assert nc.measure_batches(loader, weights).to_dict() == expected.to_dict()
    three = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, labels, labels), batch_size=13)
    with pytest.raises(TypeError, match=r"batches: batch 0 \(counted from 0\) is a list of 3, accepted are pairs"):
        nc.measure_batches(three, weights)


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


class Frozen(Model):
    def __init__(self):
        super().__init__()
        self.bn = torch.nn.BatchNorm1d(6)

    def forward(self, inputs):
        return self.fc(self.body(self.bn(inputs)))


class ByKeyword(Model):
    def forward(self, inputs):
        return self.fc(input=self.body(inputs))


def test_monitor_leaves_every_module_in_its_own_mode(data):
    features, labels = data
    model = Frozen().train()
    model.bn.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert modes["fc"] and not modes["bn"]
    monitor = nc.CollapseMonitor(model)
    monitor.end_epoch([(features, labels)])
    assert {name: module.training for name, module in model.named_modules()} == modes
    with pytest.raises(ValueError, match="labels: 5 given"):
        monitor.measure([(features, labels[:5])])
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_monitor_sees_a_head_that_is_called_by_keyword(data):
    features, labels = data
    model = ByKeyword()
    monitor = nc.CollapseMonitor(model)
    model(features)
    monitor.update(labels)
    assert monitor.accumulator.counts.tolist() == [30, 20, 10] and monitor.end_epoch() is not None


class ManyInputs(Model):
    def forward(self, left, right):
        return super().forward(torch.cat([left, right], 1))


def test_monitor_takes_inputs_of_every_form(data):
    features, labels = data
    model = Model()
    monitor = nc.CollapseMonitor(model)
    expected = monitor.measure([(features, labels)]).to_dict()
    assert monitor.measure([(features.numpy(), labels.numpy())]).to_dict() == expected
    assert monitor.measure([(features.numpy().astype(np.float64), labels)]).to_dict() == expected
    assert monitor.measure([((features,), labels)]).to_dict() == expected
    many = ManyInputs()
    many.load_state_dict(model.state_dict())
    monitor = nc.CollapseMonitor(many)
    left, right = features[:, :2], features[:, 2:]
    for inputs in ((left, right), [left, right.numpy()], dict(left=left, right=right), dict(right=right, left=left)):
        assert monitor.measure([[inputs, labels]]).to_dict() == expected
    monitor = nc.CollapseMonitor(many, forward=lambda model, inputs: model(*inputs["pair"]))
    assert monitor.measure([(dict(pair=(left, right)), labels)]).to_dict() == expected
    with pytest.raises(TypeError, match=r"batches: batch 0 \(counted from 0\) is a Tensor of 60, accepted are pairs"):
        monitor.measure([features])


def test_monitor_goes_on_after_an_epoch_without_a_class(data):
    features, labels = data
    model = Model()
    monitor = nc.CollapseMonitor(model)
    kept = labels != 2
    model(features[kept])
    monitor.update(labels[kept])
    with pytest.warns(RuntimeWarning, match="epoch 0 is not recorded: class counts: class 2 .* has 0 samples"):
        assert monitor.end_epoch() is None
    assert monitor.epoch == 1 and monitor.accumulator is None and monitor.history == []
    model(features)
    monitor.update(labels)
    record = monitor.end_epoch()
    assert record.counts == [30, 20, 10] and [row["epoch"] for row in monitor.history] == [1]
    # Samples that are gone through again raise, and end the epoch too.
    with pytest.raises(ValueError, match="class 2 .* has 0 samples"):
        monitor.end_epoch([(features[kept], labels[kept])])
    assert monitor.epoch == 3 and len(monitor.history) == 1


def test_monitor_keeps_the_features_until_their_labels_are_right(data):
    features, labels = data
    model = Model().eval()
    monitor = nc.CollapseMonitor(model)
    model(features)
    with pytest.raises(ValueError, match="labels: 5 given, the features have 60 rows"):
        monitor.update(labels[:5])
    monitor.update(labels)
    # Features that are not finite are refused, and the epoch goes on without them.
    model(features * float("nan"))
    with pytest.raises(ValueError, match="features: column 0 of row 0 .* is NaN"):
        monitor.update(labels)
    model(features)
    monitor.update(labels)
    assert monitor.accumulator.counts.tolist() == [60, 40, 20]
    assert monitor.end_epoch().nc1 > 0


def test_copies_and_files_of_a_model_leave_the_monitor_behind(data, tmp_path):
    features, labels = data
    model = Model()
    monitor = nc.CollapseMonitor(model)
    model(features)
    monitor.update(labels)
    monitor.end_epoch()
    torch.save(model, tmp_path / "model.pt")
    for other in (copy.deepcopy(model), torch.load(tmp_path / "model.pt", weights_only=False)):
        (hook,) = other.fc._forward_pre_hooks.values()
        assert hook.monitor is None
        other(features)
        assert monitor._features is None, "a copy is not watched"
    gone = weakref.ref(monitor)
    del monitor
    gc.collect()
    assert gone() is None, "the hook holds the monitor"
    model(features)


def test_monitor_plots(data):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    features, labels = data
    monitor = nc.CollapseMonitor(Model())
    for _ in range(3):
        monitor.model(features)
        monitor.update(labels)
        monitor.end_epoch()
    figure = monitor.plot()
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch", "epoch"]
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert len(labels) == 3 and all(", squared loss" in label for label in labels)


def at_the_optimum_of_cross_entropy():
    """Samples, and a head that is at rest under cross-entropy."""
    prediction = nc.predict([30, 20, 10], widths=8, layer_decay=1e-3, feature_decay=1e-4, loss="cross-entropy")
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    features = torch.tensor(prediction.class_means()[labels])
    head = torch.nn.Linear(*prediction.classifiers().shape[::-1], dtype=torch.double)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(prediction.classifiers()))
        head.bias.copy_(torch.tensor(prediction.bias))
    return features, torch.tensor(labels), torch.nn.Sequential(head)


def test_monitor_names_the_loss_that_implies_the_decays():
    features, labels, model = at_the_optimum_of_cross_entropy()
    monitor = nc.CollapseMonitor(model, head="0")
    model(features)
    monitor.update(labels)
    monitor.end_epoch()
    monitor.end_epoch([(features, labels)])
    updated, measured = monitor.history
    # Class means alone say nothing of cross-entropy: these are decays of another loss, and no decays at all.
    assert updated["loss"] is None and updated["implied_loss"] == "squared" and updated["layer_decay"] < 0
    assert measured["loss"] == measured["implied_loss"] == "cross-entropy"
    assert measured["layer_decay"] == pytest.approx(1e-3) and measured["feature_decay"] == pytest.approx(1e-4)


def test_plot_of_the_monitor_shows_where_decays_are_not_above_zero():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    features, labels, model = at_the_optimum_of_cross_entropy()
    monitor = nc.CollapseMonitor(model, head="0")
    for _ in range(2):
        model(features)
        monitor.update(labels)
        monitor.end_epoch()
    monitor.end_epoch([(features, labels)])
    for decay, row in zip((1e-3, -0.5), monitor.history):
        row["layer_decay"] = decay
    lines = {line.get_label(): line.get_ydata() for line in monitor.plot().axes[1].lines}
    layer = lines["layer, squared loss: 1 of 2 epochs not above 0"]
    assert layer[0] == 1e-3 and np.isnan(layer[1])
    assert lines["layer, cross-entropy"] == pytest.approx([1e-3])


def test_monitor_refuses_what_it_cannot_watch(data):
    features, labels = data
    with pytest.raises(ValueError, match="the model has no module 'classifier'; those with a matrix are body.0, fc"):
        nc.CollapseMonitor(Model(), head="classifier")
    with pytest.raises(ValueError, match="head: ReLU.* given, a linear layer with a weight"):
        nc.CollapseMonitor(Model(), head="body.1")
    with pytest.raises(ValueError, match="every: 0 given"):
        nc.CollapseMonitor(Model(), every=0)
    for every in (1.5, "a", True):
        with pytest.raises(TypeError, match="every: .* given, accepted: a whole number from 1 on"):
            nc.CollapseMonitor(Model(), every=every)
    with pytest.raises(TypeError, match="model: None given, accepted: a torch.nn.Module"):
        nc.CollapseMonitor(None)
    with pytest.raises(ValueError, match=r"head: Embedding\(9, 6\) given, a linear layer"):
        nc.CollapseMonitor(torch.nn.Sequential(torch.nn.Embedding(9, 6)), head="0")
    with pytest.raises(ValueError, match="head: LazyLinear.* given, which has no shape yet"):
        nc.CollapseMonitor(torch.nn.Sequential(torch.nn.LazyLinear(3)), head="0")
    with pytest.raises(ValueError, match=r"no module 'fc'; those with a matrix are '' \(the model itself\)"):
        nc.CollapseMonitor(torch.nn.Linear(6, 3))
    assert nc.CollapseMonitor(torch.nn.Linear(6, 3), head="").width == 6
    with pytest.raises(ValueError, match="no module 'fc'; none of its modules has a matrix"):
        nc.CollapseMonitor(torch.nn.ReLU())
    monitor = nc.CollapseMonitor(Model())
    with pytest.raises(ValueError, match="no forward pass through the head"):
        monitor.update(labels)
    monitor.model(features)
    with pytest.raises(ValueError, match="labels: 59 given, the features have 60 rows"):
        monitor.update(labels[1:])
    with pytest.raises(TypeError, match="loss given without batches"):
        monitor.model(features), monitor.update(labels), monitor.end_epoch(loss="squared")
