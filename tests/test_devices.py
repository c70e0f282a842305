"""The device of the shell: one that JAX finds, for the time of a command."""

import jax
import pytest

from flowdyn.cli.commands import main
from flowdyn.cli.devices import on_device

SOLVE = ["solve", "--t", "0.01", "--saves", "2"]


def test_a_device_holds_for_a_command(capsys):
    assert main([*SOLVE, "--device", "cpu"]) == 0
    assert "t = 0.01" in capsys.readouterr().out
    with on_device("cpu"):
        assert jax.config.values["jax_default_device"] == jax.devices("cpu")[0]
    assert jax.config.values["jax_default_device"] is None


@pytest.mark.parametrize("kind", ["tpu", "gpus"])
def test_a_device_that_is_not_there_is_told(capsys, kind):
    assert main([*SOLVE, "--device", kind]) == 2
    said = capsys.readouterr().err
    assert said.startswith("flowdyn: error: `--device` must be a kind of device that JAX finds here, of ['cpu'")
    assert f"got '{kind}'" in said and len(said.splitlines()) == 1
