"""Counts of ordinary jobs, held against a stored file: what costs more shows here, on any machine."""

import json

import pytest

from benchmarks import counts

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
