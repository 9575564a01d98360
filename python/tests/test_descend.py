"""Descents: they meet the theory, call back, and end when they are told to."""

import signal
import threading
import time

import ncollapse as nc
import numpy as np
import pytest
from oracle import objective

KEYWORDS = dict(widths=16, layer_decay=5e-3, feature_decay=5e-4)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
@pytest.mark.parametrize("method", ["nesterov", "lbfgs"])
def test_meets_the_prediction(loss, method):
    counts = [60, 60, 20, 5]
    run = nc.descend(counts, method=method, loss=loss, gap=1e-9, **KEYWORDS)
    prediction = nc.predict(counts, loss=loss, **KEYWORDS)
    assert run.stop == "gap" and run.is_converged and run.optimum == prediction.objective
    assert 0 <= run.objective / prediction.objective - 1 <= 1e-9 + 1e-11
    # At a relative gap of 1e-9 features are within about its root of their class means.
    value, *_ = objective(counts, run.weights[0], run.class_means, run.bias, 5e-3, 5e-4, loss)
    assert value == pytest.approx(run.objective, rel=1e-6)
    np.testing.assert_allclose(
        run.weights[0] @ run.weights[0].T, prediction.gram(), atol=1e-3 * prediction.gram().max()
    )
    assert run.trajectory["step"][0] == 0 and len(run.trajectory["objective"]) == run.steps + 1


def test_repeats_to_the_bit_and_depends_on_the_seed():
    runs = [nc.descend([30, 10], seed=seed, steps=20, **KEYWORDS) for seed in (1, 1, 2)]
    assert runs[0].objective == runs[1].objective != runs[2].objective
    assert runs[0].stop == "step limit" and not runs[0].is_converged


def test_deep_cross_entropy_has_only_the_descent():
    run = nc.descend([20, 10, 5], layers=2, loss="cross-entropy", collapsed=True, steps=2000, **KEYWORDS)
    assert run.optimum is None and run.gap is None and len(run.weights) == 2
    assert run.weights[0].shape == (16, 16) and run.weights[1].shape == (3, 16)


def test_a_true_callback_ends_the_run():
    seen = []

    def callback(step):
        seen.append(step)
        return step["step"] >= 30

    run = nc.descend([30, 10, 3], callback=callback, every=10, **KEYWORDS)
    assert [step["step"] for step in seen] == [0, 10, 20, 30]
    assert run.stop == "observer" and run.steps == 30
    assert seen[0]["objective"] > seen[-1]["objective"] == run.objective
    assert set(seen[0]) == {"step", "objective", "gradient_norm", "gap", "step_size"}
    assert threading.current_thread() is threading.main_thread()


def test_a_callback_runs_in_the_thread_of_the_caller():
    threads = set()
    nc.descend([30, 10], callback=lambda step: threads.add(threading.get_ident()), steps=5, **KEYWORDS)
    assert threads == {threading.get_ident()}


def test_an_exception_of_a_callback_is_raised():
    def callback(step):
        if step["step"] == 7:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        nc.descend([30, 10], callback=callback, **KEYWORDS)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="signals are those of Python 3.8")
def test_ctrl_c_ends_a_run_without_a_callback():
    # It would take hours: all samples, tiny fixed steps.
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    # A job in the background ignores the signal, and Python with it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            nc.descend([3000, 2000, 1000], full=True, method="gd", step_size=1e-9, steps=10**9, gap=0.0, **KEYWORDS)
        assert time.monotonic() - begin < 10
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "message, keywords",
    [
        ('method: "sgd" given, accepted: gd, heavy-ball, nesterov, lbfgs, adam', dict(method="sgd")),
        ("every: 0 given", dict(every=0, callback=print)),
        ("collapsed and full: both given", dict(collapsed=True, full=True)),
        ("^step_size: -1.0 given", dict(step_size=-1.0)),
        ("^gap: -1.0 given", dict(gap=-1.0)),
        ("scale: 0.0 given", dict(scale=0.0)),
        ('^variables: "x" given', dict(variables="x")),
        ("method: lbfgs given, accepted for nonnegative features", dict(method="lbfgs", nonnegative_features=True)),
    ],
)
def test_refuses_bad_arguments(message, keywords):
    with pytest.raises(ValueError, match=message):
        nc.descend([30, 10], **dict(KEYWORDS, **keywords))
