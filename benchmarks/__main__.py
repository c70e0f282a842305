"""``python -m benchmarks [NAME ...] [--out DIR] [--device KIND]``: one table of ratios, JSON and a figure."""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import matplotlib as mpl

from benchmarks._timing import Row, table

NAMES = (
    "gradient_descent",
    "diffrax_flow",
    "blas_threads",
    "fast_forward",
    "ou_ensemble",
    "dual_flow",
    "steppers",
    "stiff",
    "kernels",
    "large",
    "growth",
    "device",
)


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks and return the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="flowdyn beside its peers, in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all of {', '.join(NAMES)})")
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out"), help="folder (default benchmarks-out)")
    parser.add_argument("--device", metavar="KIND", help="cpu, gpu or tpu: what JAX runs on (default: its choice)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder that can be made, got {str(options.out)!r}: {error.strerror}")
    if options.device:
        if options.device == "cpu":  # any other is JAX's choice where there is one
            os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        try:
            jax.devices(options.device)
        except RuntimeError:
            parser.error(f"--device must be a kind of device that JAX finds here, got {options.device!r}")
    found: list[Row] = []
    for name in dict.fromkeys(options.names or NAMES):
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ModuleNotFoundError as error:  # a peer that is not installed
            print(f"{name}: skipped, there is no {error.name}", file=sys.stderr)
            continue
        found += module.rows()
    table(found)
    record = [row._asdict() | {"target": None if row.target == float("inf") else row.target} for row in found]
    (options.out / "benchmarks.json").write_text(json.dumps(record, indent=2) + "\n")
    draw(found, options.out / "benchmarks.png")
    return 0


def draw(rows: list[Row], path: Path) -> None:
    """Bars of the ratios, and a mark at each target."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1 + 0.3 * len(rows)), layout="constrained")
    places = range(len(rows))
    axes.barh(places, [row.ratio for row in rows], color="tab:blue", alpha=0.6)
    aims = [(row.target, place) for place, row in zip(places, rows, strict=True) if row.target < float("inf")]
    axes.plot([aim for aim, _ in aims], [place for _, place in aims], "k|", markersize=12, label="target")
    axes.set(yticks=places, yticklabels=[row.what for row in rows], xscale="log", xlabel="flowdyn / peer")
    axes.invert_yaxis()
    if aims:
        axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
