"""``python -m studies [NAME ...] [--quick] [--out DIR]``: exit status 0 if every claim holds, 1 if one fails, 2 for usage."""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

import matplotlib as mpl

from studies import NAMES


def main(arguments: list[str] | None = None) -> int:
    """Run studies and return the exit status."""
    parser = argparse.ArgumentParser("python -m studies", description="The theorems of the chapter, run and checked.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"studies to run (default: all of {', '.join(NAMES)})")
    parser.add_argument("--quick", action="store_true", help="smaller ensembles and ladders: minutes in place of tens")
    parser.add_argument(
        "--out", type=Path, default=Path("studies-out"), help="folder to write to (default studies-out)"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no study is called {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import xarray as xr

    import flowdyn as fd
    from flowdyn.plotting.axes import COLOURS
    from flowdyn.results.dataset import provenance
    from studies.drawing import cut_off
    from studies.page import write_studies

    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder that can be made, got {str(options.out)!r}: {error.strerror}")
    outcomes, seconds = {}, {}
    chosen = list(dict.fromkeys(options.names)) or NAMES
    for number, name in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {name} ...", flush=True, file=sys.stderr)
        began = time.monotonic()
        with mpl.rc_context({"axes.prop_cycle": mpl.cycler(color=COLOURS)}):
            outcome = importlib.import_module(f"studies.{name}").study(quick=options.quick)
        seconds[name] = time.monotonic() - began
        outcomes[name] = outcome
        claims = [claim.record for claim in outcome.claims]
        title, question = f"study {name}", outcome.question
        tree = xr.DataTree.from_dict(outcome.runs)
        tree.attrs = provenance("study", title, question, "chapter on implicit regularisation", claims=claims)
        fd.save(tree, options.out / f"{name}.nc", overwrite=True)
        outcome.figure.savefig(options.out / f"{name}.png", dpi=150)
        unreadable = cut_off(outcome.figure)
        if unreadable:
            raise RuntimeError(f"the figure of {name} cuts off {unreadable}: shorten it or widen the figure")
        plt.close("all")
        print(f"{name}: {seconds[name]:.1f} s")
        for claim in outcome.claims:
            print(f"  {'  '.join(claim.cells())}")
    versions = json.loads(provenance("study", "", "", "")["flowdyn_versions"])
    made = ", ".join(f"{package} {version}" for package, version in versions.items())
    write_studies(options.out / "index.html", outcomes, seconds, made)
    claims = [claim for outcome in outcomes.values() for claim in outcome.claims if claim.applies]
    failed = sum(not claim.holds for claim in claims)
    print(f"{len(claims) - failed} of {len(claims)} claims hold; {options.out / 'index.html'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
