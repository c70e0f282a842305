"""The commands that look at files: info, plot, report, diff; and the one that writes an example."""

import argparse
import os
import shutil
from typing import Any

from flowdyn.cli.opening import opened, opened_one, split_node
from flowdyn.cli.printing import Output
from flowdyn.cli.writing import check_outputs, check_place, draw
from flowdyn.results.header import Field, Header, read_header


def info(options: argparse.Namespace, output: Output) -> int:
    """Say what a file holds and how it was made; nothing heavy is loaded where the file is as flowdyn writes it."""
    # nodes, and the files of a sweep's folder, are read together
    is_folder = split_node(options.file)[1] is not None or os.path.isdir(os.path.expanduser(options.file))
    header = None if is_folder else read_header(options.file)
    header = header or loaded_header(options.file)
    for key, value in header.attrs.items():
        output.say(f"{key}: {value}")
    output.say("dimensions: " + ", ".join(f"{dim} = {size}" for dim, size in header.sizes.items()))
    for name, title in header.groups.items():
        output.say(f"group {name}: {title}")
    for is_coordinate, heading in ((False, "variables:"), (True, "coordinates:")):
        shown = {name: field for name, field in header.fields.items() if field.is_coordinate == is_coordinate}
        if shown:
            output.say(heading)
        for name, field in shown.items():
            output.say(f"  {name}({', '.join(field.dims)}): {field.long_name}")
    fields = {name: field._asdict() for name, field in header.fields.items()}
    output.note(file=options.file, attributes=header.attrs, dimensions=header.sizes, variables=fields)
    output.note(groups=header.groups)
    return 0


def loaded_header(path: Any) -> Header:
    """The same by `load`, which reads what other programs and earlier versions wrote."""
    with opened(os.fspath(path)) as ds:
        groups = {name: str(part.attrs.get("title", "")) for name, part in getattr(ds, "children", {}).items()}
        fields = {
            str(name): Field(tuple(map(str, v.dims)), str(v.attrs.get("long_name", "")), name in ds.coords)
            for name, v in ds.variables.items()
        }
        attrs = {str(name): value for name, value in ds.attrs.items()}
        return Header(attrs, {str(dim): size for dim, size in ds.sizes.items()}, fields, groups)


def plot(options: argparse.Namespace, output: Output) -> int:
    """Draw a file."""
    check_outputs(options)
    with opened_one(options.file) as ds:
        draw(ds, options, output)
    return 0


def report(options: argparse.Namespace, output: Output) -> int:
    """Write a page about files."""
    import matplotlib

    matplotlib.use("Agg")
    from flowdyn.pages.writing import report as write_report

    check_place("--out", options.out, ".html", options.overwrite)
    write_report(options.files, options.out, title=options.title, overwrite=options.overwrite)
    output.wrote(options.out)
    return 0


def diff(options: argparse.Namespace, output: Output) -> int:
    """Compare two files."""
    from flowdyn.cli.differences import compare, tell

    def held(path: str) -> Any:
        with opened(path) as ds:
            return ds.load()

    return int(tell(compare(held(options.file), held(options.other), options.rtol), output))


def example_data(options: argparse.Namespace, output: Output) -> int:
    """Write the table that comes with the package."""
    from flowdyn._tools.files import replacing, writable
    from flowdyn.problems.examples import example_table

    check_place("FILE", options.file, ".csv", options.overwrite)
    with replacing(writable(options.file, ".csv", options.overwrite)) as temporary:
        shutil.copyfile(example_table(), temporary)
    output.wrote(options.file)
    output.say("342 penguins of three species (Gorman, Williams and Fraser, 2014), in the public domain (CC0 1.0)")
    output.say("columns: bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g")
    return 0
