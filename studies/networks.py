"""Small networks that several studies train, each with its start."""

import jax.numpy as jnp
import numpy as np

import flowdyn as fd


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
