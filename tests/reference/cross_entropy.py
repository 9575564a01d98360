"""Minimizers of one layer for every loss and option, with 50 digits, printed with 25.

    pip install mpmath==1.3.0 gmpy2 numpy scipy
    python3 tests/reference/cross_entropy.py

Another way than the crate: factors of fixed rank, B = X Y', and squares in the place of contrasts, a = t^2, make the reduced
problem of groups smooth. A trust-region method in double precision gives a start for every rank, and Newton's method with
60 digits the rest. A row is written only if the dual bound of the whole problem, K x K and without groups, is within 1e-40
of the objective: that proves it. Decimal inputs are read as the nearest double, so that both sides start from the same
number.
"""

import itertools
import pathlib
import random

import numpy as np
from mpmath import exp, log, matrix, lu_solve, mp, mpf, nstr, sqrt, svd_r
from scipy.optimize import minimize

mp.dps = 60
HERE = pathlib.Path(__file__).parent
GAP = mpf(10) ** -40


def show(value):
    return nstr(mpf(value), 25, min_fixed=0, max_fixed=0)


def entrywise(function):
    return lambda array: np.frompyfunc(function, 1, 1)(array)


class Problem:
    """The problem of groups, in doubles or with many digits: `real` reads a number."""

    def __init__(self, case, real):
        self.real = real
        self.exp, self.log = (np.exp, np.log) if real is float else (entrywise(exp), entrywise(log))
        root = np.sqrt if real is float else sqrt
        array = lambda values: np.array([real(value) for value in values], dtype=float if real is float else object)
        self.counts, self.sizes, self.alphas = array(case["counts"]), array(case["sizes"]), array(case["weights"])
        self.R = len(self.counts)
        self.K = sum(case["sizes"])
        self.samples = sum(self.counts * self.sizes)
        self.cross = case["loss"] == "cross-entropy"
        self.decay, self.feature_decay = real(case["decay"]), real(case["feature decay"])
        self.lam = root(self.decay * self.feature_decay)
        epsilon = real(case["smoothing"])
        self.elsewhere = epsilon / self.K
        self.own_target = 1 - epsilon + self.elsewhere
        self.shifts = real(case["tau"]) * self.log(self.counts / self.samples)
        self.margins = real(case["ldam"]) * self.counts ** real(-0.25)
        self.scales = (self.counts / max(self.counts)) ** real(case["cdt"])
        self.bias = case["bias"]
        self.bias_decay = real(0) if self.bias in ("none", "free") else real(self.bias)
        self.weights = self.alphas * self.counts * self.sizes / self.samples
        self.roots = array(root(c) for c in self.counts)
        self.size_roots = array(root(m) for m in self.sizes)
        self.outputs = self.output_map()

    def zeros(self, *shape):
        return np.array([self.real(0)] * int(np.prod(shape))).reshape(shape)

    def output_map(self):
        """Scaled logits of the classes of row r, and of the own class, as linear functions of B, a and b, for every s."""
        R = self.R
        maps = []
        for s in range(R):
            rows = self.zeros(R + 1, R * R + 2 * R)
            for r in range(R):
                rows[r, r * R + s] = self.scales[r] / (self.size_roots[r] * self.size_roots[s] * self.roots[s])
                rows[r, R * R + R + r] = self.scales[r]
            rows[s, R * R + s] = -self.scales[s] / self.sizes[s]
            rows[R] = rows[s]
            rows[R, R * R + s] += self.scales[s]
            maps.append(rows)
        return maps

    def sample(self, s, logits):
        """Loss, gradient and curvature by the R + 1 outputs of a sample of group s, and p - y of one class of each."""
        number = self.sizes.copy()
        number[s] -= 1
        number = np.append(number, self.real(1))
        u = logits + np.append(self.shifts, self.shifts[s] - self.margins[s])
        target = np.append(self.zeros(self.R) + self.elsewhere, self.own_target)
        if not self.cross:
            errors = u - target
            return sum(number * errors**2) / 2, number * errors, np.diag(number), errors
        used = [i for i in range(self.R + 1) if number[i] > 0]
        largest = max(u[i] for i in used)
        e = self.exp(np.where(number > 0, u - largest, largest * 0))
        p = e / sum(number * e)
        value = largest + self.log(np.array([sum(number * e)]))[0] - sum(number * target * u)
        share = number * p
        return value, number * (p - target), np.diag(share) - np.outer(share, share), p - target

    def evaluate(self, point):
        """Fit, its gradient and curvature by (B, a, b), and the errors of every column; the decay of the bias included."""
        value, gradient, curvature, errors = self.real(0), self.zeros(len(point)), self.zeros(len(point), len(point)), []
        for s, rows in enumerate(self.outputs):
            loss, g, h, error = self.sample(s, rows.dot(point))
            value += self.weights[s] * loss
            gradient = gradient + self.weights[s] * rows.T.dot(g)
            curvature = curvature + self.weights[s] * rows.T.dot(h).dot(rows)
            errors.append(error)
        for r in range(self.R):
            i = self.R * self.R + self.R + r
            value += self.bias_decay * self.sizes[r] * point[i] ** 2 / 2
            gradient[i] += self.bias_decay * self.sizes[r] * point[i]
            curvature[i, i] += self.bias_decay * self.sizes[r]
        return value, gradient, curvature, errors


class Factored:
    """The smooth problem in X, Y, t and b, at one rank and with the contrasts that are not zero."""

    def __init__(self, problem, rank, moving):
        self.problem, self.rank, self.moving = problem, rank, moving
        self.has_bias = problem.bias != "none"
        self.length = 2 * problem.R * rank + len(moving) + (problem.R if self.has_bias else 0)

    def split(self, x):
        R, k = self.problem.R, self.rank
        X, Y = x[: R * k].reshape(R, k), x[R * k : 2 * R * k].reshape(R, k)
        t = x[2 * R * k : 2 * R * k + len(self.moving)]
        return X, Y, t, x[2 * R * k + len(self.moving) :]

    def point(self, x):
        R = self.problem.R
        X, Y, t, b = self.split(x)
        point = self.problem.zeros(R * R + 2 * R)
        if self.rank:
            point[: R * R] = X.dot(Y.T).ravel()
        for value, s in zip(t, self.moving):
            point[R * R + s] = value * value
        if self.has_bias:
            point[R * R + R :] = b
        return point

    def penalties(self):
        p = self.problem
        return [p.lam * (p.sizes[s] - 1) * p.roots[s] for s in self.moving]

    def derivatives(self, x):
        p, R, k = self.problem, self.problem.R, self.rank
        X, Y, t, _ = self.split(x)
        value, inner, bend, _ = p.evaluate(self.point(x))
        chain = p.zeros(R * R + 2 * R, self.length)
        second = p.zeros(self.length, self.length)
        half = R * k
        for i, j, l in itertools.product(range(R), range(R), range(k)):
            chain[i * R + j, i * k + l] = Y[j, l]
            chain[i * R + j, half + j * k + l] = X[i, l]
            second[i * k + l, half + j * k + l] = second[half + j * k + l, i * k + l] = inner[i * R + j]
        for i in range(2 * half):
            second[i, i] += p.lam
        for i, (s, penalty) in enumerate(zip(self.moving, self.penalties())):
            chain[R * R + s, 2 * half + i] = 2 * t[i]
            second[2 * half + i, 2 * half + i] = 2 * (inner[R * R + s] + penalty)
        for r in range(R if self.has_bias else 0):
            chain[R * R + R + r, 2 * half + len(self.moving) + r] = p.real(1)
        gradient = chain.T.dot(inner)
        gradient[: 2 * half] = gradient[: 2 * half] + p.lam * x[: 2 * half]
        for i, penalty in enumerate(self.penalties()):
            gradient[2 * half + i] += 2 * penalty * t[i]
            value += penalty * t[i] ** 2
        value += p.lam * sum(x[: 2 * half] ** 2) / 2
        return value, gradient, chain.T.dot(bend).dot(chain) + second

    def gauge(self, x):
        """Directions along which nothing changes: rotations of the factors, and a shift of a free bias."""
        p, R, k = self.problem, self.problem.R, self.rank
        X, Y, _, _ = self.split(x)
        directions = []
        for i, j in itertools.combinations(range(k), 2):
            turn = p.zeros(2, R, k)
            for part, factor in enumerate((X, Y)):
                turn[part, :, i], turn[part, :, j] = factor[:, j], -factor[:, i]
            directions.append(np.concatenate([turn.ravel(), p.zeros(self.length - 2 * R * k)]))
        if p.bias == "free" and p.cross:
            directions.append(np.concatenate([p.zeros(self.length - R), 1 / p.scales]))
        return directions

    def newton(self, x):
        for _ in range(12):
            _, gradient, curvature = self.derivatives(x)
            for direction in self.gauge(x):
                curvature = curvature + np.outer(direction, direction)
            if self.length == 0:
                return x
            step = lu_solve(matrix(curvature.tolist()), matrix([-g for g in gradient]))
            x = x + np.array(list(step))
            if mp.norm(step) < mpf(10) ** -48 * (1 + max(abs(v) for v in x)):
                return x
        raise ArithmeticError("Newton's method did not converge")


def whole(problem, point):
    """S and E of all K classes, and the largest entry of (P - Y) w."""
    p, R, K = problem, problem.R, problem.K
    _, _, _, errors = p.evaluate(point)
    group = [r for r in range(R) for _ in range(int(p.sizes[r]))]
    S, E, total = matrix(K, K), matrix(K, K), [mpf(0)] * K
    for k, s in enumerate(group):
        for i, r in enumerate(group):
            a = point[R * R + s]
            inner = (point[r * R + s] / p.roots[s] - (a if r == s else 0)) / (p.size_roots[r] * p.size_roots[s])
            S[i, k] = (inner + (a if i == k else 0)) * p.roots[s]
            error = errors[s][R if i == k else r]
            # w_k = alpha_k n_k/N.
            E[i, k] = -p.scales[r] * error * p.alphas[s] * p.roots[s] / p.samples
            total[i] += p.scales[r] * error * p.alphas[s] * p.counts[s] / p.samples
    return group, S, E, total


def certificate(problem, point):
    """Objective and dual bound of the problem of all classes."""
    p = problem
    value, _, _, errors = p.evaluate(point)
    group, S, E, total = whole(p, point)
    values = list(svd_r(S, compute_uv=False))
    norm = max(svd_r(E, compute_uv=False))
    t = min(mpf(1), p.lam / norm) if norm > 0 else mpf(1)
    bound = mpf(0)
    for k, s in enumerate(group):
        inner = mpf(0)
        for i, r in enumerate(group):
            error = t * errors[s][p.R if i == k else r]
            target = p.own_target if i == k else p.elsewhere
            shift = p.shifts[r] - (p.margins[s] if i == k else 0)
            if p.cross:
                q = target + error
                inner += (-q * log(q) if q > 0 else mpf(0)) + error * shift
            else:
                inner += -error * error / 2 - error * (target - shift)
        bound += p.alphas[s] * p.counts[s] / p.samples * inner
    if p.bias == "free":
        assert max(abs(x) for x in total) < mpf(10) ** -45, "the bias is not optimal"
    elif p.bias != "none":
        # E's part of the bias alone, without the decay.
        bound -= sum((t * x) ** 2 for x in total) / (2 * p.bias_decay)
    return value + p.lam * sum(values), bound, sorted(values, reverse=True)


def solve(case):
    rough, exact = Problem(case, float), Problem(case, mpf)
    contrasts = [s for s in range(rough.R) if case["sizes"][s] > 1]
    rng = np.random.default_rng(1)
    for rank in range(rough.R + 1):
        factored = Factored(rough, rank, contrasts)
        x = 0.5 * rng.normal(size=factored.length)
        if factored.length:
            found = minimize(
                lambda x: factored.derivatives(x)[0], x, jac=lambda x: factored.derivatives(x)[1],
                hess=lambda x: factored.derivatives(x)[2], method="trust-exact",
                options={"gtol": 1e-11, "maxiter": 3000},
            )
            x = found.x
        X, Y, t, b = factored.split(x)
        moving = [i for i in range(len(t)) if t[i] ** 2 > 1e-4]
        x = np.concatenate([X.ravel(), Y.ravel(), t[moving], b])
        sharp = Factored(exact, rank, [contrasts[i] for i in moving])
        try:
            x = sharp.newton(np.array([mpf(float(v)) for v in x], dtype=object))
        except (ArithmeticError, ZeroDivisionError):
            continue
        point = sharp.point(x)
        objective, bound, values = certificate(exact, point)
        if abs(objective - bound) <= GAP * (objective if objective > 0 else 1):
            return exact, sharp, x, point, objective, values
    raise ArithmeticError(f"no rank is certified: {case}")


def numbers(problem, factored, x, point, objective, values):
    """What the crate answers, by group."""
    p, R = problem, problem.R
    bias = point[R * R + R :]
    if p.bias == "free" and p.cross:
        along = sum(p.sizes * bias / p.scales) / sum(p.sizes / p.scales**2)
        bias = bias - along / p.scales
    _, _, _, errors = p.evaluate(point)
    own = [p.own_target + errors[s][R] for s in range(R)]
    sibling = [show(p.elsewhere + errors[s][s]) if p.sizes[s] > 1 else "none" for s in range(R)]
    a = point[R * R : R * R + R]
    inner = [
        [(point[r * R + s] / p.roots[s] - (a[s] if r == s else 0)) / (p.size_roots[r] * p.size_roots[s]) + bias[r]
         for s in range(R)] for r in range(R)
    ]
    X, Y, _, _ = factored.split(x)
    ratio = sqrt(p.feature_decay / p.decay)
    left = [sum(X[r] ** 2) if factored.rank else mpf(0) for r in range(R)]
    right = [sum(Y[r] ** 2) if factored.rank else mpf(0) for r in range(R)]
    own_part = [a[r] * p.roots[r] * (1 - 1 / p.sizes[r]) for r in range(R)]
    classifier = [sqrt(ratio * (left[r] / p.sizes[r] + own_part[r])) for r in range(R)]
    mean = [sqrt((right[r] / p.sizes[r] + own_part[r]) / ratio / p.counts[r]) for r in range(R)]
    join = lambda row: " ".join(map(show, row))
    tiny = mpf(10) ** -40
    return [
        show(objective), join(v if v > tiny else 0 for v in values), "none" if p.bias == "none" else join(bias),
        join(own), " ".join(sibling),
        # A group of one class has no other.
        " ".join("none" if r == s and p.sizes[r] == 1 else show(inner[r][s]) for r in range(R) for s in range(R)),
        join(inner[r][r] + a[r] for r in range(R)), join(classifier), join(mean),
    ]


def case(loss, groups, q, bias="free", smoothing=0.0, tau=0.0, ldam=0.0, cdt=0.0, decays=None):
    """Groups are (count, classes, weight); q = N lambda/sqrt(n) of the largest class, unless the decays are given."""
    counts, sizes, weights = zip(*groups)
    samples = sum(c * m for c, m, _ in groups)
    lam = q * counts[0] ** 0.5 / samples
    decay, feature_decay = decays or (float(f"{2 * lam:.6g}"), float(f"{lam / 2:.6g}"))
    return {
        "loss": loss, "counts": counts, "sizes": sizes, "weights": weights, "decay": decay,
        "feature decay": feature_decay, "bias": bias, "smoothing": smoothing, "tau": tau, "ldam": ldam, "cdt": cdt,
    }


ONE, THREE, FOUR = [(7, 1, 1.0)], [(60, 2, 1.0), (25, 1, 1.0), (8, 3, 1.0)], [(90, 1, 1.0), (40, 2, 1.0), (12, 2, 1.0), (5, 1, 1.0)]
WEIGHTED = [(60, 2, 0.5), (25, 1, 1.25), (8, 3, 4.0)]
STEEP = [(200, 2, 0.001), (50, 2, 1.0), (5, 2, 1000.0)]


def chosen():
    """Cases with a reason."""
    for loss in ("cross-entropy", "squared"):
        for bias in ("none", "free", "0.05"):
            yield case(loss, ONE, 0.1, bias)
            yield case(loss, [(30, 1, 1.0), (10, 1, 1.0)], 0.2, bias)  # K = 2
            yield case(loss, [(20, 2, 1.0)], 0.2, bias)  # K = 2 in one group
            yield case(loss, [(12, 5, 1.0)], 0.15, bias)  # balanced
            yield case(loss, [(12, 5, 1.0)], 3.0, bias)  # all zero
            yield case(loss, THREE, 0.1, bias)
            yield case(loss, THREE, 0.5, bias)  # the smallest coincide
            yield case(loss, THREE, 5.0, bias)  # all zero
            yield case(loss, FOUR, 0.001, bias)
            yield case(loss, FOUR, 0.6, bias)
            yield case(loss, WEIGHTED, 0.1, bias)
            yield case(loss, STEEP, 0.01, bias)
            # Equal counts of different weight are different groups.
            yield case(loss, [(20, 2, 1.0), (20, 2, 2.0)], 0.3, bias)
            # q = 1 exactly: N = 64, n = 16, lambda = 1/16.
            yield case(loss, [(16, 4, 1.0)], 0.0, bias, decays=(0.0625, 0.0625))
            yield case(loss, [(36, 1, 1.0), (4, 7, 1.0)], 0.0, bias, decays=(0.03125, 0.03125))
    for bias in ("none", "free", "0.2"):
        for loss in ("cross-entropy", "squared"):
            yield case(loss, THREE, 0.2, bias, smoothing=0.1)
            yield case(loss, THREE, 0.2, bias, tau=1.0)
            yield case(loss, THREE, 0.2, bias, ldam=0.5)
            yield case(loss, THREE, 0.2, bias, cdt=0.3)
            yield case(loss, WEIGHTED, 0.05, bias, 0.05, -0.5, 0.7, 0.15)


def drawn():
    """Everything at once, at random."""
    rng = random.Random(7)
    short = lambda x: float(f"{x:.4g}")
    for _ in range(40):
        counts = sorted(rng.sample(range(1, 500), rng.randint(1, 4)), reverse=True)
        weighted = rng.random() < 0.6
        groups = [(c, rng.randint(1, 3), short(10 ** rng.uniform(-2, 2)) if weighted else 1.0) for c in counts]
        yield case(
            rng.choice(["cross-entropy", "squared"]), groups, 10 ** rng.uniform(-3, 0.7),
            rng.choice(["none", "free", str(short(10 ** rng.uniform(-3, 0.5)))]), rng.choice([0.0, short(rng.uniform(0, 0.4))]),
            rng.choice([0.0, short(rng.uniform(-1, 1.5))]), rng.choice([0.0, short(rng.uniform(0, 2))]),
            rng.choice([0.0, short(rng.uniform(0, 0.5))]),
        )


def main():
    with open(HERE / "cross_entropy.csv", "w") as table:
        table.write(
            "loss,counts,weights,layer decay,feature decay,bias,smoothing,tau,ldam,cdt,objective,singular values,"
            "bias by group,own probability,sibling probability,logits by row,own logits,classifier norms,mean norms\n"
        )
        for one in itertools.chain(chosen(), drawn()):
            text = " ".join(f"{c}x{m}" for c, m in zip(one["counts"], one["sizes"]))
            weights = " ".join(map(repr, one["weights"]))
            options = [repr(one["decay"]), repr(one["feature decay"]), one["bias"]]
            options += [repr(one[name]) for name in ("smoothing", "tau", "ldam", "cdt")]
            try:
                row = numbers(*solve(one))
            except ArithmeticError as error:
                print(error, flush=True)
                continue
            table.write(",".join([one["loss"], text, weights] + options + row) + "\n")
            table.flush()


main()
