"""The shell's compiled programs: kept in the user's cache folder, unless somebody says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from flowdyn.cli import program_cache
from flowdyn.cli.commands import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder, and an environment that says nothing of caches."""
    for name in (program_cache.SWITCH, *program_cache.OF_JAX, *program_cache.SETTINGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    before = dict(os.environ)
    yield tmp_path
    for name in set(os.environ) - set(before):
        del os.environ[name]


def test_the_folder_is_the_user_s_own(home):
    program_cache.keep_programs()
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_relative_to(home / "flowdyn") and folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", [program_cache.SWITCH, *program_cache.OF_JAX])
def test_the_environment_wins(home, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    program_cache.keep_programs()
    assert not list(home.iterdir()) and os.environ.get("JAX_COMPILATION_CACHE_DIR") in (None, "1")


def test_a_folder_that_cannot_be_made_is_done_without(home, monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    program_cache.keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("system", "name", "value", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "relative", ".cache"),
        ("darwin", "XDG_CACHE_HOME", "/ignored", "Library/Caches"),
        ("win32", "LOCALAPPDATA", "/local", "/local"),
    ],
)
def test_conventions_of_the_platforms(home, monkeypatch, system, name, value, expected):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert program_cache.user_cache() == home / expected


def test_the_oldest_programs_leave(home, monkeypatch):
    monkeypatch.setattr(program_cache, "MOST_PROGRAMS", 3)
    program_cache.keep_programs()
    folder = Path(os.environ.pop("JAX_COMPILATION_CACHE_DIR"))
    for age in range(4):
        (folder / str(age)).write_text("")
        os.utime(folder / str(age), (age, age))
    program_cache.keep_programs()
    assert sorted(f.name for f in folder.iterdir()) == ["2", "3"]


def test_called_from_python_it_keeps_nothing(home):
    assert main(["solve", "--t", "0.01", "--saves", "2"]) == 0
    assert not list(home.iterdir()) and jax.config.read(program_cache.INLINE)


def test_the_shell_runs_programs_in_the_calling_thread():
    code = """import sys; sys.argv = ["flowdyn", "solve", "--t", "0.01", "--saves", "2", "--no-cache"]
from flowdyn.cli.commands import main
main()
import jax; print(jax.config.read("jax_cpu_enable_async_dispatch"))"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("False\n")


def test_a_second_process_compiles_nothing(home):
    """The programs of the first are found; `--no-cache` looks for none."""

    def programs(*more):
        code = "import sys; from flowdyn.cli.commands import main; sys.exit(main())"
        arguments = ["solve", "--method", "GradientDescent", "--eta", "0.01", "--steps", "3", *more]
        environment = os.environ | {"JAX_LOG_COMPILES": "1"}
        run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
        assert run.returncode == 0, run.stderr
        kept = [f for f in home.rglob("*") if f.is_file()]
        return len(kept), run.stderr.count("Persistent compilation cache hit")

    assert programs("--no-cache") == (0, 0)
    kept, hits = programs()
    assert kept > 0 and hits == 0
    again, hits = programs()
    assert again == kept and hits > 0
