"""A toy loss; small networks, each with its start, and how they are run along the edge of stability."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

import flowdyn as fd


def toy(w):
    """A saddle's valley with a weak quartic."""
    return 0.5 * (w[0] * w[1] - 1) ** 2 + 0.0125 * (w[0] - 2) ** 4


def tanh_network():
    """8 units on 10 points of sin 4x, and its start."""
    rng = np.random.default_rng(3)
    w0 = np.concatenate([scale * rng.standard_normal(8) for scale in (1.5, 0.5, 0.7)])
    x = np.linspace(-1, 1, 10)

    def predict(w, x):
        a, b, c = jnp.split(w, 3)
        return jnp.tanh(jnp.outer(x, a) + b) @ c

    return fd.problems.CustomRegression(predict, np.sin(4 * x), np.zeros(24), data=x), w0


def digits_network(units=80):
    """Parity of 200 of scikit-learn's digits, one hidden layer of 5281 parameters, and its start."""
    from sklearn.datasets import load_digits

    X, label = load_digits(return_X_y=True)
    X = ((X - X.mean(axis=0)) / (X.std(axis=0) + 0.1))[:200] / 8
    rng = np.random.default_rng(0)
    w0 = {"inner": 0.4 * rng.standard_normal((64, units)), "shift": np.zeros(units)}
    w0 |= {"outer": 0.4 * rng.standard_normal(units) / np.sqrt(units), "level": np.zeros(())}

    def predict(w, X):
        return jnp.tanh(X @ w["inner"] + w["shift"]) @ w["outer"] + w["level"]

    p = fd.problems.CustomRegression(predict, np.where(label[:200] % 2, 1.0, -1.0), w0, data=X)
    return p, p.init()


def rmsprop(p, w0, eta, beta2, v0, steps):
    """Iterates and losses of the recursion, v updated first."""
    gradient = jax.jit(lambda w: p.grad(w))
    w, v, path = w0, np.full(len(w0), v0), [w0]
    for _ in range(steps):
        grad = np.asarray(gradient(w))
        v = beta2 * v + (1 - beta2) * grad**2
        w = w - eta * grad / (np.sqrt(v) + 1e-8)
        path.append(w)
    return np.array(path)


def beside_central(p, w0, eta, steps, every, modes):
    """Descent with its midpoints, the central flow and the gradient flow at every so many steps."""
    gd = fd.GradientDescent(p, eta)
    with warnings.catch_warnings():  # the edge is the point here
        warnings.simplefilter("ignore", fd.FlowdynWarning)
        run = fd.solve(gd, w0, steps=steps + 1, saves=steps + 2)
        times = run.t.values[: steps + 1 : every]
        central = fd.solve(fd.CentralFlow(gd, modes=modes), w0, t=times)
    flow = fd.solve(fd.GradientFlow(p), w0, t=times, solver=fd.solvers.Scipy("RK45", rtol=1e-5))
    middle = fd.comparison.midpoints(run).isel(t=slice(every - 1, None, every))
    gaps = [fd.comparison.error(c.isel(t=slice(1, None)), middle).values for c in (central, flow)]
    return run, central, flow, gaps
