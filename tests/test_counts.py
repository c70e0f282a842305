"""Counts of ordinary jobs, held against a stored file: what costs more shows here, on any machine."""

import json
import sys
import types
from pathlib import Path

import pytest

from benchmarks import counts
from benchmarks.__main__ import NAMES, main
from benchmarks._timing import Row

STORED = json.loads(counts.STORED.read_text())
ROUNDING = 0.02  # of steps, evaluations and bytes: other processors round otherwise, and texts name other versions


def allowed(name, stored):
    """Largest count that passes: programs are whole things, the rest may differ by rounding."""
    return stored if name == "compiled" or name.startswith("calls of _") else stored + max(2, int(ROUNDING * stored))


def test_the_file_is_of_these_jobs():
    assert list(STORED) == list(counts.JOBS)


@pytest.mark.parametrize("job", counts.JOBS)
def test_a_job_costs_no_more_than_is_stored(job):
    found = counts.count(job)
    over = {
        name: (n, STORED[job].get(name)) for name, n in found.items() if n > allowed(name, STORED[job].get(name, 0))
    }
    assert not over, f"{job} costs more (now, stored); if so on purpose: python -m benchmarks.counts --write"


def test_a_program_more_is_noticed(monkeypatch):
    monkeypatch.setitem(counts.JOBS, "gradient descent", lambda: counts.starts() | counts.descent())
    found = counts.count("gradient descent")
    assert found["compiled"] > allowed("compiled", STORED["gradient descent"]["compiled"])


def test_one_command_makes_table_json_and_figure(tmp_path, monkeypatch, capsys):
    rows = [Row("a / b", 1.0, 2.0, 0.5, 0.6), Row("a / c", 1.0, 1.0, 1.0, float("inf"))]
    monkeypatch.setitem(sys.modules, "benchmarks.stiff", types.SimpleNamespace(rows=lambda: rows))
    assert main(["stiff", "--out", str(tmp_path)]) == 0
    assert "a / b" in capsys.readouterr().out and (tmp_path / "benchmarks.png").stat().st_size > 1000
    record = json.loads((tmp_path / "benchmarks.json").read_text())
    assert record[0] == {"what": "a / b", "ours": 1.0, "peer": 2.0, "ratio": 0.5, "target": 0.6}
    assert record[1]["target"] is None


def test_a_peer_that_is_absent_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sdeint", None)
    monkeypatch.delitem(sys.modules, "benchmarks.ou_ensemble", raising=False)
    assert main(["ou_ensemble", "--out", str(tmp_path)]) == 0
    assert "ou_ensemble: skipped, there is no sdeint" in capsys.readouterr().err


def test_a_name_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["nothing"])
    assert caught.value.code == 2 and "no benchmark is called nothing" in capsys.readouterr().err
    assert all((Path(counts.__file__).parent / f"{name}.py").exists() for name in NAMES)
