"""The commands that look at specs, and what all commands do alike."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Run

COMMANDS = ("build", "check", "show", "verify", "specs", "schema")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(resnetgen: Run, command: str) -> None:
    ran = resnetgen(command, "--help")
    assert ran.code == 0
    assert f"Examples:\n\n    resnetgen {command}" in ran.out


def test_help_lists_the_commands_and_exit_codes(resnetgen: Run) -> None:
    ran = resnetgen("--help")
    assert ran.code == 0
    assert all(f"\n  {command} " in ran.out for command in COMMANDS)
    assert "Exit codes" in ran.out


def test_help_of_verify_warns_that_it_runs_what_it_finds(resnetgen: Run) -> None:
    assert "This runs the Python in DIR" in resnetgen("verify", "--help").out


def test_version_is_printed(resnetgen: Run) -> None:
    ran = resnetgen("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "resnetgen")


def test_unknown_command_is_bad_input(resnetgen: Run) -> None:
    ran = resnetgen("bild")
    assert (ran.code, ran.out) == (2, "")
    assert "bild" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_knows_specs_and_targets(command: str) -> None:
    def complete(words: str) -> list[str]:
        environment = {
            **os.environ,
            "_RESNETGEN_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        ran = subprocess.run(
            [sys.executable, "-m", "resnetgen"], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    assert command in complete(f"resnetgen {command[:3]}")
    if command in ("build", "check", "show"):
        assert "resnet1202" in complete(f"resnetgen {command} resnet12")
    if command == "build":
        assert complete("resnetgen build --target torch,k") == ["torch,keras"]


class TestShow:
    """`show`."""

    def test_table_says_which_shortcuts_are_projected(self, resnetgen: Run) -> None:
        out = resnetgen("show", "resnet50").out
        (conv2,) = [line for line in out.splitlines() if line.startswith("conv2_x")]
        assert conv2.split("  ")[0] == "conv2_x"
        for part in (
            "56x56",
            "[1x1 64, 3x3 64, 1x1 256] x 3",
            "1 projected, 2 identity",
            "215,808",
        ):
            assert part in conv2
        (conv2,) = [
            line
            for line in resnetgen("show", "resnet34").out.splitlines()
            if line.startswith("conv2_x")
        ]
        assert "3 identity" in conv2
        assert "projected" not in conv2

    def test_table_has_the_totals(self, resnetgen: Run) -> None:
        first, *_, total = resnetgen("show", "resnet50").out.strip().splitlines()
        assert first == (
            "resnet50: 50 layers, 25,557,032 parameters, 4,089,184,256 MACs at 3x224x224"
        )
        assert total.split() == ["total", "25,557,032", "4,089,184,256"]

    def test_narrow_terminal_loses_nothing(
        self, resnetgen: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        lines = resnetgen("show", "resnet50").out.splitlines()
        assert max(map(len, lines)) <= 80
        assert "1x1 256] x 3" in "\n".join(lines)

    def test_two_3x3_and_a_bottleneck_can_be_compared(self, resnetgen: Run) -> None:
        def convolutions(spec: str, stage: str) -> list[int]:
            facts = resnetgen("show", spec, "--block", stage, "--format", "json").json
            out = resnetgen("show", spec, "--block", stage).out
            counts = [block["convolution_params"] for block in facts["blocks"]]
            assert all(f"{count:,}" in out for count in counts)
            return counts

        assert convolutions("resnet50", "conv2_x") == [73728, 69632]
        assert convolutions("resnet18", "layer3") == [917504, 1179648]

    def test_unknown_stage_names_the_nearest(self, resnetgen: Run) -> None:
        ran = resnetgen("show", "resnet50", "--block", "conv6_x")
        assert ran.code == 2
        assert "hint: did you mean `conv" in ran.err

    def test_json_has_a_row_per_stage(self, resnetgen: Run) -> None:
        facts = resnetgen("show", "resnet18", "--format", "json").json
        assert facts["params"]["trainable"] == 11689512
        assert facts["depth"] == 18
        assert [row["name"] for row in facts["stages"]] == [
            "stem", "layer1", "layer2", "layer3", "layer4", "head",
        ]  # fmt: skip
        assert facts["stages"][2]["output_shape"] == [128, 28, 28]
        assert facts["stages"][2]["shortcuts"] == {"projection": 1, "identity": 1}
        assert sum(row["macs"] for row in facts["stages"]) == facts["macs"]
        assert resnetgen("show", "resnet18", "--json").json == facts

    def test_several_specs_are_a_list(self, resnetgen: Run) -> None:
        facts = resnetgen("show", "resnet18", "resnet34", "--json").json
        assert [network["name"] for network in facts["networks"]] == ["resnet18", "resnet34"]
        assert resnetgen("show", "resnet18", "resnet34").out.count("total") == 2

    def test_markdown_is_a_table(self, resnetgen: Run) -> None:
        lines = resnetgen("show", "resnet20", "--format", "markdown").out.splitlines()
        assert lines[2].startswith("| stage ")
        assert len({line.count("|") for line in lines[2:]}) == 1
        assert len({len(line) for line in lines[2:]}) == 1

    def test_latex_brackets_blocks_as_the_paper_does(self, resnetgen: Run) -> None:
        out = resnetgen("show", "resnet50", "--format", "latex").out
        assert (
            r"conv2\_x & 56x56 & $\left[\begin{array}{c} 1 \times 1, 64 \\ 3 \times 3, 64 \\"
            r" 1 \times 1, 256 \end{array}\right] \times 3$ & 1 projected, 2 identity"
        ) in out

    @pytest.mark.parametrize("target", ["torch", "keras", "onnx"])
    def test_source_is_what_build_writes(self, resnetgen: Run, target: str) -> None:
        file = {"torch": "model_torch.py", "keras": "model_keras.py", "onnx": "model.onnxtxt"}
        resnetgen("build", "resnet18", "--no-verify", "--no-weights", "--set", "classes=10")
        out = resnetgen("show", "resnet18", "--format", target, "--set", "classes=10").out
        assert out == Path("generated/resnet18", file[target]).read_text()

    def test_source_is_of_one_network(self, resnetgen: Run) -> None:
        assert resnetgen("show", "resnet18", "resnet34", "--format", "torch").code == 2

    def test_unknown_format_names_the_nearest(self, resnetgen: Run) -> None:
        ran = resnetgen("show", "resnet18", "--format", "markdwon")
        assert ran.code == 2
        assert "hint: did you mean `markdown`?" in ran.err


class TestCheck:
    """`check`."""

    def test_valid_specs_are_named(self, resnetgen: Run) -> None:
        ran = resnetgen("check", "resnet18", "resnet50", "--set", "classes=10")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == "resnet18: resnet18, 18 layers\nresnet50: resnet50, 50 layers\n"

    def test_all_mistakes_of_all_files_are_reported(self, resnetgen: Run) -> None:
        Path("a.yaml").write_text("extends: resnet50\nname: class\nclases: 10\n")
        Path("b.yaml").write_text("extends: resnet51\nname: b\n")
        ran = resnetgen("check", "a.yaml", "resnet18", "b.yaml")
        assert ran.code == 2
        assert ran.out == "resnet18: resnet18, 18 layers\n"
        places = [line.split(": ")[0] for line in ran.err.splitlines() if "error: " in line]
        assert places == ["a.yaml:2:7", "a.yaml:3:1", "b.yaml:1:10"]

    def test_json_has_both(self, resnetgen: Run) -> None:
        Path("a.yaml").write_text("extends: resnet50\nname: a\nclases: 10\n")
        ran = resnetgen("check", "a.yaml", "resnet18", "--json")
        assert (ran.code, ran.err) == (2, "")
        assert ran.json["valid"] == [{"spec": "resnet18", "name": "resnet18", "depth": 18}]
        (found,) = ran.json["diagnostics"]
        assert (found["file"], found["line"], found["column"]) == ("a.yaml", 3, 1)
        assert found["hint"] == "did you mean `classes`?"

    def test_override_can_be_wrong_too(self, resnetgen: Run) -> None:
        assert resnetgen("check", "resnet18", "--set", "stages.9.repeats=1").code == 2


def test_specs_lists_all_that_ship(resnetgen: Run) -> None:
    from resnetgen.spec.load import bundled

    facts = resnetgen("specs", "--json").json["specs"]
    assert {item["name"] for item in facts} == set(bundled())
    assert all(Path(item["file"]).is_file() for item in facts)
    out = resnetgen("specs").out
    assert all(f"\n{name} " in out for name in bundled())


def test_schema_is_json_schema(resnetgen: Run) -> None:
    schema = resnetgen("schema").json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["additionalProperties"] is False


def test_no_mistake_of_the_user_ends_in_a_traceback(resnetgen: Run) -> None:
    Path("binary.yaml").write_bytes(bytes(range(256)))
    Path("empty").mkdir()
    for arguments in (
        ["build", "binary.yaml"],
        ["show", "empty"],
        ["show", ""],
        ["check", "no/such/file.yaml"],
        ["verify", "empty"],
        ["verify", "no-such-directory"],
        ["build", "resnet18", "--set", "classes"],
        ["build", "resnet18", "--target", ""],
    ):
        for form in ([], ["--json"]):
            ran = resnetgen(*arguments, *form)
            assert ran.code == 2, arguments
            assert "Traceback" not in ran.out + ran.err
            if form:
                assert ran.json["diagnostics"]
            else:
                assert "error: " in ran.err.lower()


def test_pipe_that_closes_early_is_no_error() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m resnetgen show resnet1202 --block conv2_x --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("{\n", "")


def test_colour_is_for_terminals_and_can_be_refused(tmp_path: Path) -> None:
    def output(**variables: str) -> str:
        environment = {**os.environ, **variables}
        environment.pop("PYTEST_CURRENT_TEST", None)
        ran = subprocess.run(
            [sys.executable, "-m", "resnetgen", "check", "nothing.yaml"],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        return ran.stderr

    assert "\x1b" not in output()
    assert "\x1b[" in output(FORCE_COLOR="1")
    assert "\x1b[31" not in output(FORCE_COLOR="1", NO_COLOR="1")


def test_interrupt_says_so_and_no_more(tmp_path: Path) -> None:
    """No traceback, no litter."""
    process = subprocess.Popen(
        [sys.executable, "-m", "resnetgen", "build", "resnet152", "--no-verify"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # These weights take a second to write.
    while not list(tmp_path.glob("generated/.*/model.safetensors")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_documents_are_ascii_whatever_the_terminal(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "resnetgen", "check", "résnet.yaml", "--json"],
        cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["diagnostics"][0]["file"] == "résnet.yaml"
