"""What makes a shell complete the command: its commands, their options, and the names that options take."""

import argparse
from collections.abc import Iterable

from flowdyn.cli.inputs import runnable_methods, solvers_by_name, table_problems
from flowdyn.cli.parser import SHELLS, build_parser
from flowdyn.cli.printing import PROGRAM, Output

BASH = """_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} names=
    case "${{COMP_WORDS[1]}} $previous" in
{values}
    *) if [ "$COMP_CWORD" -eq 1 ]; then names="{commands}"; elif [ "${{word#-}}" != "$word" ]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
    fi ;;
    esac
    COMPREPLY=($(compgen -W "$names" -- "$word"))
    [ -n "$names" ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _{program} {program}
"""


def completion(options: argparse.Namespace, output: Output) -> int:
    """Print the script for a shell."""
    commands = {name: list(_options(command)) for name, command in _subparsers().items()}
    write = _fish if options.shell == "fish" else _bash
    script = write(commands)
    if options.shell == "zsh":  # it can read what is written for bash
        script = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + script
    output.say(script.rstrip())
    return 0


def _subparsers() -> dict[str, argparse.ArgumentParser]:
    (group,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(group.choices)


Option = tuple[str, str, str]  # its flag, what it does, the names that it takes


def _options(command: argparse.ArgumentParser) -> Iterable[Option]:
    known = _names(command.prog.split()[-1])
    for action in command._actions:
        for flag in action.option_strings:
            if flag.startswith("--") and action.help != argparse.SUPPRESS:
                yield flag, str(action.help), " ".join(known.get(action.dest, ()))


def _names(command: str) -> dict[str, Iterable[str]]:
    """Names that an option takes, where the shell can list them."""
    from flowdyn import observables

    if command not in ("eta-limit", "solve", "sweep"):
        return {}
    return {
        "method": runnable_methods(command),
        "problem": table_problems(),
        "solver": solvers_by_name(),
        "observe": [name for name in observables.REGISTRY if name != "Observable"],
        "error": ("sup", "weak", "strong"),
        "sampling": ("with", "without", "reshuffle"),
        "label_noise": ("gaussian", "sign"),
        "on_divergence": ("raise", "keep"),
    }


def _bash(commands: dict[str, list[Option]]) -> str:
    values = [f'    "completion completion") names="{" ".join(SHELLS)}" ;;']
    values += [
        f'    "{name} {flag}") names="{takes}" ;;'
        for name, options in commands.items()
        for flag, _, takes in options
        if takes
    ]
    options = [f'        {name}) names="{" ".join(flag for flag, *_ in o)}" ;;' for name, o in commands.items()]
    lists = {"values": "\n".join(values), "options": "\n".join(options), "commands": " ".join(commands)}
    return BASH.format(program=PROGRAM, **lists)


def _fish(commands: dict[str, list[Option]]) -> str:
    lines = [f"complete -c {PROGRAM} -n __fish_use_subcommand -fa '{' '.join(commands)}'"]
    for name, options in commands.items():
        for flag, text, takes in options:
            line = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}' -l {flag[2:]} -d {_quoted(text)}"
            lines.append(f"{line} -xa '{takes}'" if takes else line)
    lines.append(f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from completion' -xa '{' '.join(SHELLS)}'")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
