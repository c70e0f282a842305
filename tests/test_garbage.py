"""The shell's process looks for garbage while a command runs, not as it starts or ends; a caller's is left alone."""

import gc
import subprocess
import sys

from flowdyn.cli.commands import main


def test_a_process_of_the_shell():
    """The command, in place of which its state is noted, finds all imports done, frozen, and the search going on."""
    code = (
        "import atexit, gc, sys, weakref\n"
        "from flowdyn.cli import commands, runs\n"
        "runs.solve = lambda options, output: print(\n"
        "    gc.isenabled(), gc.get_freeze_count() > 100_000, {'jax', 'equinox', 'xarray'} <= set(sys.modules)) or 0\n"
        "atexit.register(print, 'handled')\n"
        "class Held: pass\n"
        "held = Held(); weakref.finalize(held, print, 'finalised')\n"
        "held.itself = held\n"
        "sys.argv = ['flowdyn', 'solve', '--no-cache']\n"
        "before = gc.get_freeze_count()\n"
        "assert commands.main() == 0\n"
        "print(gc.isenabled(), before == 0, gc.get_freeze_count() > before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, second, *rest = run.stdout.splitlines()
    assert first == "True True True" and second == "True True True" and sorted(rest) == ["finalised", "handled"]


def test_a_process_that_ends_by_wrong_usage():
    code = "import gc, sys; from flowdyn.cli.commands import main; sys.argv = ['flowdyn', 'solve', '--nothing']\n"
    code += (
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, gc.isenabled(), gc.get_freeze_count() > 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "2 True True\n", run.stderr


def test_called_from_python_it_leaves_the_search_alone(capsys):
    before, frozen = (gc.isenabled(), gc.get_threshold()), gc.get_freeze_count()
    assert main(["--version"]) == 0
    assert (gc.isenabled(), gc.get_threshold()) == before and gc.get_freeze_count() <= frozen
