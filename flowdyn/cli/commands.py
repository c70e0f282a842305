"""The ``flowdyn`` command. Exit status 0; 1 if a run fails or results differ; 2 for wrong usage.

Nothing heavy is imported before a command runs, so that ``flowdyn --help`` answers at once.
"""

import argparse
import importlib
import os
import sys
import warnings

from flowdyn import _check
from flowdyn.cli import garbage
from flowdyn.cli.devices import on_device
from flowdyn.cli.parser import build_parser
from flowdyn.cli.printing import PROGRAM, Output, complain, in_shell_terms, spare_stdout, warning_printer
from flowdyn.cli.program_cache import keep_programs, run_inline

# command -> module of this folder that holds it
COMMANDS = {
    "eta-limit": "runs",
    "solve": "runs",
    "rerun": "reruns",
    "sweep": "sweeps",
    "info": "results",
    "plot": "results",
    "report": "results",
    "diff": "results",
    "example-data": "results",
    "completion": "shells",
}
COMPUTING = ("runs", "reruns", "sweeps")  # the others start without JAX
IMPORTS = "flowdyn.running.integration"  # with all that is heavy of what those import


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    if arguments is not None:  # it is called from Python: the process is not the shell's
        return _answer(arguments)
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed, as by `>&-`
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, for all of the process
    with garbage.spared():
        return _answer(None)


def _answer(arguments: list[str] | None) -> int:
    top = build_parser()
    options = top.understood(arguments)
    if options.command is None and not options.version:
        top.print_usage(sys.stderr)
        return complain(f"a command is needed; see {PROGRAM} --help", 2)
    warnings.showwarning = warning_printer(options)
    if arguments is None and not getattr(options, "no_cache", True):
        keep_programs()
    trouble = 2 if options.command in ("diff", "rerun") else 1  # its 1 says that files differ
    try:
        return _run(options, inline=arguments is None)
    except _check.ArgumentError as error:
        return complain(in_shell_terms(str(error), options), 2)
    except _check.FlowdynError as error:
        return complain(in_shell_terms(str(error), options), trouble)
    except MemoryError:
        return complain("out of memory; use fewer saves or less data", trouble)
    except BrokenPipeError:
        spare_stdout()
        return trouble
    except OSError as error:  # a full disk behind stdout, above all
        spare_stdout()
        return complain(f"cannot write: {error.strerror or error}", trouble)
    except KeyboardInterrupt:
        return complain("interrupted", 130)


def _run(options: argparse.Namespace, inline: bool) -> int:
    output = Output(options)
    if options.version:
        import flowdyn

        output.say(f"{PROGRAM} {flowdyn.__version__}")
        status = 0
    else:
        module = importlib.import_module(f"flowdyn.cli.{COMMANDS[options.command]}")
        if inline and COMMANDS[options.command] in COMPUTING:
            run_inline()
            importlib.import_module(IMPORTS)
        if inline:
            garbage.look_again()
        with on_device(getattr(options, "device", None)):
            status = getattr(module, options.command.replace("-", "_"))(options, output)
    output.close()
    return status
