"""Reference tables for the tests, computed with 60 digits and printed with 25.

    pip install mpmath==1.3.0
    python3 tests/reference/generate.py

Every oracle takes another way than the crate: scalars by bisection on the defining equation, spectra by a symmetric
eigenvalue decomposition, minima by bisection on the derivative of the balanced scalar problem in the prediction z. Decimal inputs
are read as the nearest double, so that both sides start from the same number.
"""

import pathlib

from mpmath import eigsy, matrix, mp, mpf, nstr, sqrt

mp.dps = 60
HERE = pathlib.Path(__file__).parent
TINY = 2.2250738585072014e-308


def show(value):
    return nstr(value, 25, min_fixed=0, max_fixed=0)


def next_double(x, direction):
    import math
    return math.nextafter(x, direction)


def bisect(f, low, high):
    """The zero of a function that rises from low to high, both positive: halving the logarithm, then the interval."""
    low, high = mpf(low), mpf(high)
    while high / low > 4:
        middle = sqrt(low * high)
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    for _ in range(190):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return (low + high) / 2


def q_threshold(L):
    return mpf(1) if L == 1 else (1 - mpf(1) / L) ** (mpf(L - 1) / (L + 1)) / L


def beta_threshold(L):
    return mpf(1) if L == 1 else mpf(L - 1) ** (mpf(L - 1) / L) / L


def points(threshold):
    """Doubles from the smallest normal number to just above the threshold."""
    nearest = float(threshold)
    below = [TINY, 1e-300, 3e-250, 1e-100, 1e-30, 1e-17, 3e-16, 1e-12, 1e-8, 1e-5, 1e-3]
    below += [float(threshold * mpf(f)) for f in ("0.05", "0.2", "0.4", "0.6", "0.8", "0.95", "0.999", "0.9999999")]
    below += [float(threshold * (1 - mpf(10) ** -d)) for d in (10, 13, 15)]
    edge = [next_double(nearest, 0.0), nearest, next_double(nearest, 9.0)]
    above = [float(threshold * 2), 1e300]
    return sorted({x for x in below if x < nearest}) + edge + above


def scalars():
    with open(HERE / "shrinkage.csv", "w") as table:
        table.write("layers,q,e\n")
        for L in range(1, 101):
            threshold, p = q_threshold(L), mpf(L - 1) / (L + 1)
            for q in points(threshold):
                if q > float(threshold):
                    e = "collapsed"
                elif q == float(threshold):
                    e = "collapsed" if L == 1 else "both"
                else:
                    e = show(bisect(lambda e: e * (1 - e) ** p - mpf(q), mpf(q) / 2, mpf(1) / L if L > 1 else mpf(2)))
                table.write(f"{L},{q!r},{e}\n")
    with open(HERE / "lemma_a2.csv", "w") as table:
        table.write("layers,beta,x\n")
        for L in range(1, 101):
            threshold = beta_threshold(L)
            for beta in points(threshold):
                if beta > float(threshold):
                    x = "zero"
                elif beta == float(threshold):
                    x = "zero" if L == 1 else "both"
                else:
                    low = mpf(L - 1) ** (mpf(1) / L) if L > 1 else mpf(10) ** -30
                    x = show(bisect(lambda x: mpf(beta) - L * x ** (L - 1) / (x**L + 1) ** 2, low, mpf(10) ** 400))
                table.write(f"{L},{beta!r},{x}\n")
    with open(HERE / "thresholds.csv", "w") as table:
        table.write("layers,q,beta\n")
        for L in list(range(1, 101)) + [1000, 12345, 1000000]:
            table.write(f"{L},{show(q_threshold(L))},{show(beta_threshold(L))}\n")


def counts(text):
    groups = {}
    for word in text.split():
        count, classes = (word.split("x") + ["1"])[:2]
        groups[int(count)] = groups.get(int(count), 0) + int(classes)
    return sorted(groups.items(), reverse=True)


def levels(text, centered):
    """Squares of the distinct singular values with multiplicities, falling. The directions between groups are the
    eigenvalues of the R x R matrix diag(c) - v v'/N, v_r = c_r sqrt(m_r)."""
    groups = counts(text)
    if not centered:
        return [(mpf(c), m) for c, m in groups]
    samples = mpf(sum(c * m for c, m in groups))
    mp.dps = 120
    v = [c * sqrt(mpf(m)) for c, m in groups]
    size = len(groups)
    gram = matrix(size, size)
    for i in range(size):
        for j in range(size):
            gram[i, j] = (groups[i][0] if i == j else 0) - v[i] * v[j] / samples
    roots = sorted(eigsy(gram, eigvals_only=True), reverse=True)
    mp.dps = 60
    assert abs(roots[-1]) < mpf(10) ** -90 * groups[0][0] ** 2
    result = [(x, 1) for x in roots[:-1]] + [(mpf(c), m - 1) for c, m in groups if m > 1]
    return sorted(result, reverse=True) + [(mpf(0), 1)]


PROFILES = [
    "1",
    "1000000000000",
    "7x5",
    "500x2 400x2 300x2 200x2 100x2",
    "1500 600x5 50x20",
    "1000000000 999999999",
    "1000000000 999999999 999999998",
    "1000000000x3 999999999x2 1",
    "1 1000000000000",
    "1000000000000x2 1x1000000",
    "1000000x1000000 1",
    "2 1x1000000",
    "1000000000 1x99",
    "4503599627370496 4503599627370495",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "1 10 100 1000 10000 100000 1000000 10000000 100000000 1000000000 10000000000",
    "1x1000 501 500 1000x1000",
    "5000 2997 1796 1077 645 387 232 139 83 50",
    "1073741824 1073741823 1073741822 3 2 1",
    "999983 999979 999961 999959 7x100000",
]


def spectra():
    with open(HERE / "spectra.csv", "w") as table:
        table.write("counts,singular values x multiplicity\n")
        for text in PROFILES:
            values = " ".join(f"{show(sqrt(x))}x{m}" for x, m in levels(text, True))
            table.write(f"{text},{values}\n")


def prediction(square, samples, decays, L):
    """argmin over z >= 0 of (sigma - z)^2/(2N) + (L+1)/2 (z^2 P)^(1/(L+1)), P the product of all decays, and its value."""
    sigma = sqrt(square)
    product = mpf(1)
    for decay in decays:
        product *= decay
    power = mpf(1) / (L + 1)

    def value(z):
        return (sigma - z) ** 2 / (2 * samples) + mpf(L + 1) / 2 * (z * z * product) ** power

    def slope(z):
        return (z - sigma) / samples + product**power * z ** (2 * power - 1)

    # The slope is convex in z (L >= 2) or linear (L = 1): its least point, then the zero above it.
    if L == 1:
        z = sigma - samples * sqrt(product)
    else:
        least = ((mpf(1) - 2 * power) * samples * product**power) ** (1 / (2 - 2 * power))
        z = bisect(slope, least, sigma) if least < sigma and slope(least) < 0 else mpf(0)
    if z <= 0 or value(z) > square / (2 * samples):
        return mpf(0), square / (2 * samples)
    return z, value(z)


MODELS = [
    # counts, widths, layer decays, feature decay, bias
    ("500x2 400x2 300x2 200x2 100x2", [512], [5e-3], 1e-4, True),
    ("500x2 400x2 300x2 200x2 100x2", [512], [5e-4], 1e-5, True),
    ("500x2 400x2 300x2 200x2 100x2", [512], [5e-4], 1e-5, False),
    ("500x2 400x2 300x2 200x2 100x2", [6], [5e-4], 1e-5, True),
    ("500x2 400x2 300x2 200x2 100x2", [64, 64, 64], [5e-4, 1e-3, 2e-3], 1e-5, True),
    ("500x2 400x2 300x2 200x2 100x2", [64, 3, 64], [5e-4, 1e-3, 2e-3], 1e-5, False),
    ("1500 600x5 50x20", [512], [5e-4], 1e-5, True),
    ("1500 600x5 50x20", [512], [5e-3], 1e-5, True),
    ("1500 600x5 50x20", [64] * 6, [5e-4] * 6, 1e-5, True),
    ("1500 600x5 50x20", [64, 64], [5e-3, 5e-3], 1e-5, False),
    ("1000000000 1x99", [128], [1e-150], 1e140, True),
    ("1000000000 1x99", [128], [1e-160], 1e140, True),
    ("50 20x3 10 5", [128], [1e-150], 1e140, True),
    ("50 20x3 10 5", [128, 7], [1e140, 1e-3], 1e-150, False),
    ("1000000000 1x99", [128, 100], [1e-150, 1e-12], 1e120, True),
    ("1000000000 1x99", [128, 100], [1e140, 1e-12], 1e-150, False),
    ("1000000000000x2 1x1000000", [2000000], [1e-10], 1e-10, True),
    ("1 10 100 1000 10000 100000 1000000 10000000 100000000 1000000000 10000000000", [64], [1e-9], 1e-12, True),
    ("1 10 100 1000 10000 100000 1000000 10000000 100000000 1000000000 10000000000", [64] * 4, [1e-5] * 4, 1e-20, True),
    ("7x5", [8], [1e-2], 1e-2, True),
    ("7x5", [2], [1e-2], 1e-2, True),
    ("9", [3], [1e-2], 1e-2, True),
    ("9", [3, 3], [1e-2, 1e-2], 1e-2, False),
    ("1000000000 999999999 999999998", [16], [1e-5], 1e-6, True),
    ("5000 2997 1796 1077 645 387 232 139 83 50", [20], [0.5], 0.5, True),
    ("5000 2997 1796 1077 645 387 232 139 83 50", [20], [1e-300], 1e-300, True),
]


def minima():
    with open(HERE / "minima.csv", "w") as table:
        table.write("counts,widths,layer decays,feature decay,bias,objective,target:prediction:product:feature:layers x multiplicity\n")
        for text, widths, layer_decays, feature_decay, bias in MODELS:
            L, decays = len(widths), [mpf(d) for d in layer_decays + [feature_decay]]
            samples = mpf(sum(c * m for c, m in counts(text)))
            room = min(widths + [sum(m for _, m in counts(text))])
            total, rows = mpf(0), []
            for square, multiplicity in levels(text, bias):
                z, cost = prediction(square, samples, decays, L) if square > 0 else (mpf(0), mpf(0))
                kept = min(multiplicity, room) if z > 0 else 0
                room -= kept
                total += kept * cost + (multiplicity - kept) * square / (2 * samples)
                parts = [(kept, z), (multiplicity - kept, mpf(0))]
                for part, z in [(m, z) for m, z in parts if m > 0]:
                    product = mpf(1)
                    for decay in decays:
                        product *= decay
                    level = (z * z * product) ** (mpf(1) / (L + 1))
                    h, w = sqrt(level / decays[-1]), [sqrt(level / d) for d in decays[:-1]]
                    whole = mpf(1)
                    for factor in w:
                        whole *= factor
                    numbers = [sqrt(square), z, whole if z > 0 else mpf(0), h] + w
                    rows.append(":".join(show(x) for x in numbers) + f"x{part}")
            fields = [text, " ".join(map(str, widths)), " ".join(map(repr, layer_decays)), repr(feature_decay), str(bias).lower()]
            table.write(",".join(fields + [show(total), " ".join(rows)]) + "\n")


GEOMETRIES = [
    # counts, layer decays, feature decay, bias; widths never cut
    ("500x2 400x2 300x2 200x2 100x2", [5e-4], 1e-5, True),
    ("500x2 400x2 300x2 200x2 100x2", [5e-4, 1e-3], 1e-5, False),
    ("1500 600x5 50x20", [5e-4], 1e-5, True),
    ("1500 600x5 50x20", [5e-3], 5e-4, True),
    ("1500 600x5 50x20", [5e-4] * 3, 1e-5, True),
    ("7x5", [1e-2], 1e-2, True),
    ("9", [1e-2], 1e-2, True),
    ("1000000000 999999999 999999998", [1e-5], 1e-6, True),
    ("1000000000 1x99", [1e-14], 1e-14, True),
    ("1000000000000x2 1x1000000", [1e-16], 1e-16, True),
    ("1000000000 2 1", [1e-12], 1e-14, True),
    ("1000000000 100000 1", [1e-12, 1e-8], 1e-16, True),
    ("1000000000x3 999999999x2 1", [1e-13], 1e-13, True),
    ("1073741824 1073741823 1073741822 3 2 1", [1e-11] * 2, 1e-15, True),
    ("1 10 100 1000 10000 100000 1000000 10000000 100000000 1000000000 10000000000", [1e-9], 1e-15, True),
]


def geometries():
    """Inner products between classes from the eigenvectors of the R x R matrix of `levels`, with 120 digits: for every pair of groups r, t
    and for one class (r = t, same) or two."""
    with open(HERE / "geometries.csv", "w") as table:
        table.write("counts,layer decays,feature decay,bias,critical scales,r:t:same:classifiers:class means:logit ...\n")
        for text, layer_decays, feature_decay, bias in GEOMETRIES:
            mp.dps = 120
            groups, L = counts(text), len(layer_decays)
            c, m = [mpf(count) for count, _ in groups], [mpf(classes) for _, classes in groups]
            samples, size = sum(a * b for a, b in zip(c, m)), len(groups)
            decays = [mpf(d) for d in layer_decays + [feature_decay]]
            product = mpf(1)
            for decay in decays:
                product *= decay

            def numbers(square):
                """w^2, h^2 and z of a direction with this squared target."""
                z, _ = prediction(square, samples, decays, L)
                if z == 0:
                    return mpf(0), mpf(0), mpf(0)
                h = sqrt((z * z * product) ** (mpf(1) / (L + 1)) / decays[-1])
                return (z / h) ** 2, h * h, z

            # Directions between groups: their squares, and the entries of left and right vectors at one class of every group.
            between = []
            if bias and size > 1:
                v = [a * sqrt(b) for a, b in zip(c, m)]
                gram = matrix(size, size)
                for i in range(size):
                    for j in range(size):
                        gram[i, j] = (c[i] if i == j else 0) - v[i] * v[j] / samples
                squares, vectors = eigsy(gram)
                for j in range(size):
                    if squares[j] > mpf(10) ** -60:
                        left = [vectors[r, j] / sqrt(m[r]) for r in range(size)]
                        mean = sum(m[r] * c[r] * left[r] for r in range(size)) / samples
                        right = [sqrt(c[r]) * (left[r] - mean) / sqrt(squares[j]) for r in range(size)]
                        between.append((squares[j], left, right))
            entries = []
            all_numbers = [numbers(square) for square, _, _ in between]
            for r in range(size):
                for t in range(size):
                    totals = [mpf(0)] * 3
                    for (_, left, right), (w2, h2, z) in zip(between, all_numbers):
                        totals[0] += w2 * left[r] * left[t]
                        totals[1] += h2 * right[r] * right[t] / sqrt(c[r] * c[t])
                        totals[2] += z * left[r] * right[t] / sqrt(c[t])
                    for same in (True, False):
                        if (r != t and same) or (r == t and not same and m[r] == 1):
                            continue
                        own = (int(same) - 1 / m[r] if bias else int(same)) if r == t else 0
                        w2, h2, z = numbers(c[r])
                        parts = [w2, h2 / c[r], z / sqrt(c[r])]
                        values = [total + part * own for total, part in zip(totals, parts)]
                        entries.append(":".join([str(r), str(t), str(same).lower()] + [show(x) for x in values]))
            squares = sorted([s for s, _, _ in between] + [c[r] for r in range(size) if not bias or m[r] > 1], reverse=True)
            scales = [q_threshold(L) / (samples * (product / s**L) ** (mpf(1) / (L + 1))) for s in squares]
            mp.dps = 60
            fields = [text, " ".join(map(repr, layer_decays)), repr(feature_decay), str(bias).lower()]
            table.write(",".join(fields + [" ".join(map(show, scales)), " ".join(entries)]) + "\n")


RATIOS = [
    # majority classes, minority classes, count, layer decays, feature decay
    (1, 2, 1000, [1e-3], 1e-5),
    (5, 5, 5000, [5e-4], 1e-5),
    (10, 90, 500, [1e-3] * 2, 1e-5),
    (1, 99, 5000, [1e-4] * 3, 1e-5),
    (3, 1000, 1000000000000, [1e-14] * 6, 1e-14),
    (1, 1000000, 1000000, [1e-8], 1e-13),
    (2, 2, 1000, [1e-150], 1e-150),
    (2, 2, 1000, [1e-150], 1e140),
    (7, 2, 1000000, [1e-8] * 100, 1e-8),
    (7, 2, 1000000, [1e-3] * 2, 1e-3),
]


def critical_ratios():
    """The ratio r with N (prod decays)^(1/(L+1)) (count/r)^(-L/(L+1)) = q_L, N = count (majority + minority/r), beyond the ratio where this is least."""
    with open(HERE / "critical_ratios.csv", "w") as table:
        table.write("majority,minority,count,layer decays,feature decay,ratio\n")
        for majority, minority, count, layer_decays, feature_decay in RATIOS:
            L, product = len(layer_decays), mpf(1)
            for decay in layer_decays + [feature_decay]:
                product *= mpf(decay)

            def excess(ratio):
                samples = count * (majority + minority / ratio)
                return samples * (product * (ratio / count) ** L) ** (mpf(1) / (L + 1)) - q_threshold(L)

            low = max(mpf(1), mpf(minority) / (L * majority))
            ratio = bisect(excess, low, mpf(10) ** 400) if excess(low) < 0 else mpf(1)
            fields = [majority, minority, count, " ".join(map(repr, layer_decays)), repr(feature_decay), show(ratio)]
            table.write(",".join(map(str, fields)) + "\n")


scalars()
spectra()
minima()
geometries()
critical_ratios()
