"""The commands that look at specs, and what all commands do alike."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from commands import Run

from resnetgen.resources import specs_directory

COMMANDS = (
    "build",
    "check",
    "show",
    "diff",
    "infer",
    "verify",
    "convert",
    "new",
    "specs",
    "schema",
)


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
    assert "130 interrupted" in " ".join(ran.out.split())


def test_help_of_verify_warns_that_it_runs_what_it_finds(resnetgen: Run) -> None:
    assert "This runs the Python in DIR" in resnetgen("verify", "--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "resnet18", "--no-verify", "-o", ""),
        ("build", "resnet18", "--no-verify", "--weights", ""),
        ("verify", ""),
        ("verify", "net", "-o", ""),
        ("verify", "net", "--certificate", ""),
        ("convert", "", "--spec", "resnet18", "--to", "torch", "-o", "net.pth"),
        ("convert", "net.pth", "--spec", "resnet18", "--to", "torch", "-o", ""),
        ("infer", ""),
        ("new", "net", "-o", ""),
    ],
)
def test_empty_path_is_not_the_current_directory(
    resnetgen: Run, arguments: tuple[str, ...]
) -> None:
    ran = resnetgen(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: a path on the command line is empty\nhint: `.` is the current directory\n"
    )
    assert os.listdir() == []


def test_version_is_printed(resnetgen: Run) -> None:
    ran = resnetgen("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "resnetgen")


def test_unknown_command_is_bad_input(resnetgen: Run) -> None:
    ran = resnetgen("bild")
    assert (ran.code, ran.out) == (2, "")
    assert "bild" in ran.err


def complete(words: str) -> list[str]:
    """What a shell is offered for the last of the words."""
    environment = {
        **os.environ,
        "_RESNETGEN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    ran = subprocess.run(
        [sys.executable, "-m", "resnetgen"], env=environment, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_knows_specs_and_targets(command: str) -> None:
    assert command in complete(f"resnetgen {command[:3]}")
    if command in ("build", "check", "show", "diff"):
        assert "resnet1202" in complete(f"resnetgen {command} resnet12")
    if command == "build":
        assert complete("resnetgen build --target torch,k") == ["torch,keras"]
        assert complete("resnetgen build --level ") == ["shapes", "forward", "train"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("show resnet50 --block ", "conv1 conv2_x conv3_x conv4_x conv5_x head stem layer1 layer2"
         " layer3 layer4"),
        ("show resnet20 --block conv", "conv1 conv2_x conv3_x conv4_x"),
        ("show resnet20 --json --block=he", "head"),
        ("show --block ", ""),
        ("show no_such_spec --block ", ""),
        ("show resnet20 --set depth=1 --block ", ""),
    ],
)  # fmt: skip
def test_completion_of_block_knows_the_rows_of_the_spec(words: str, offered: str) -> None:
    assert complete(f"resnetgen {words}") == offered.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("build resnet18 --level shape",
         "there is no level `shape`\nexpected: shapes, forward, train\n"
         "hint: did you mean `shapes`?"),
        ("build resnet18 --device rocm", "there is no device `rocm`\nexpected: cpu, cuda"),
        ("verify here --device GPU",
         "there is no device `GPU`\nexpected: cpu, cuda\nhint: did you mean `cuda`?"),
        ("verify here --dtype float",
         "there is no dtype `float`\nexpected: float64, float32, float16, bfloat16\n"
         "hint: did you mean `float64`?"),
    ],
)  # fmt: skip
def test_word_that_an_option_does_not_know_is_bad_input(
    resnetgen: Run, arguments: str, said: str
) -> None:
    ran = resnetgen(*arguments.split())
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {said}\n")
    ran = resnetgen(*arguments.split(), "--json")
    assert (ran.code, ran.err) == (2, "")
    assert ran.json["diagnostics"][0]["message"] == said.splitlines()[0]


TABLES = ("show resnet50", "show resnet50 --block conv3_x", "show resnet18 --block stem", "specs")
WIDTHS = {**dict.fromkeys(TABLES, (0, 1, 40, 60, 61, 63, 80, 120)), "specs": (1, 63)}
"""In columns; all bundled specs are compiled for each."""


@pytest.mark.parametrize("arguments", TABLES)
def test_table_of_any_width_keeps_its_numbers_whole(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    def numbers() -> list[str]:
        """The counts and shapes in the right-hand columns, and what the title counts."""
        words = resnetgen(*arguments.split()).out.split()
        return [word for word in words if re.fullmatch(r"\d{1,3}(,\d{3})+|\d+(x\d+){2}", word)]

    whole = numbers()
    assert len(whole) > 5
    for columns in WIDTHS[arguments]:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert numbers() == whole, columns


@pytest.mark.parametrize("arguments", TABLES)
def test_table_of_any_width_keeps_its_words_whole(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    def words() -> set[str]:
        table = resnetgen(*arguments.split()).out.partition("Their files: ")[0]
        return {word for word in table.split() if word[0] != "─"}

    whole = words()
    for columns in WIDTHS[arguments]:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert words() <= whole, columns


@pytest.mark.parametrize("arguments", TABLES)
@pytest.mark.parametrize("columns", ["60", None])
def test_no_line_of_a_table_ends_with_spaces(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, columns: str | None
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    lines = resnetgen(*arguments.split()).out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []


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

    def test_option_a_pads_only_where_channels_are_added(self, resnetgen: Run) -> None:
        shown = resnetgen("show", "resnet20", "--set", "stages.1.width=16").out
        assert "1 subsampled, 2 identity" in shown
        assert "1 padded, 2 identity" in shown

    def test_narrow_terminal_loses_nothing(
        self, resnetgen: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        lines = resnetgen("show", "resnet50").out.splitlines()
        assert max(map(len, lines)) <= 80
        assert "1x1 256] x 3" in "\n".join(lines)

    def test_narrower_terminal_loses_a_column_and_breaks_between_convolutions(
        self, resnetgen: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "60")
        out = resnetgen("show", "resnet50").out
        assert "shortcuts" not in out
        assert "  [1x1 256,          7,098,368  1,464,336,384\n" in out
        assert "\n                 1x1 1024] x 6,\n                 stride 2\n" in out
        networks = ("resnet50", "senet154", "resnetrs420", "resnext101_32x32d", "resnet29_triple")
        for block in ((), ("--block", "layer1"), ("--block", "stem"), ("--block", "head")):
            lines = resnetgen("show", *networks, *block).out.splitlines()
            assert max(map(len, lines)) <= 60

    def test_two_3x3_and_a_bottleneck_can_be_compared(self, resnetgen: Run) -> None:
        def convolutions(spec: str, stage: str) -> list[int]:
            facts = resnetgen("show", spec, "--block", stage, "--format", "json").json
            out = resnetgen("show", spec, "--block", stage).out
            counts = [block["convolution_params"] for block in facts["blocks"]]
            assert all(f"{count:,}" in out for count in counts)
            return counts

        assert convolutions("resnet50", "conv2_x") == [73728, 69632]
        assert convolutions("resnet18", "layer3") == [917504, 1179648]

    @pytest.mark.parametrize(
        ("asked", "ops", "total"),
        [
            ("stem", ["input", "conv1", "bn1", "act1", "maxpool"], "stem  9,536  118,013,952"),
            ("conv1", ["input", "conv1", "bn1", "act1", "maxpool"], "stem  9,536  118,013,952"),
            ("head", ["avgpool", "flatten", "fc"], "head  2,049,000  2,048,000"),
        ],
    )
    def test_stem_and_head_are_shown_op_by_op(
        self, resnetgen: Run, asked: str, ops: list[str], total: str
    ) -> None:
        lines = resnetgen("show", "resnet50", "--block", asked).out.strip().splitlines()
        assert [line.split()[0] for line in lines[3 : 3 + len(ops)]] == ops
        assert lines[-1].split() == total.split()
        facts = resnetgen("show", "resnet50", "--block", asked, "--json").json
        assert facts["stage"] == total.split()[0]
        assert [op["name"] for op in facts["ops"]] == ops
        assert sum(op["params"]["trainable"] for op in facts["ops"]) == facts["params"]["trainable"]

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
            r"conv3\_x & $28 \times 28$ & $\left[\begin{array}{c} 1 \times 1, 128 \\"
            r" 3 \times 3, 128 \\ 1 \times 1, 512 \end{array}\right] \times 4$, stride 2"
            r" & 1 projected, 3 identity &"
        ) in out
        assert r"conv1 & $56 \times 56$ & $7 \times 7$/2 conv 64, $3 \times 3$/2 max pool &" in out
        assert r"MACs at $3 \times 224 \times 224$}" in out

    @pytest.mark.parametrize(
        ("spec", "bracket"),
        [
            pytest.param(
                "keras_resnet50v2",
                r"1 \times 1, 64 \\ 3 \times 3, 64 \\ 1 \times 1, 256"
                r" \end{array}\right] \times 3$, stride 2 & 1 projected, 1 identity,",
                id="stride-in-the-last-block",
            ),
            pytest.param(
                "seresnext50_32x4d",
                r"1 \times 1, 128 \\ 3 \times 3, \mbox{128 (32 groups)} \\ 1 \times 1, 256 \\"
                r" \mbox{SE} \end{array}\right] \times 3$ & 1 projected, 2 identity &",
                id="groups-and-attention",
            ),
            pytest.param(
                "ecaresnet50d_pruned",
                r"1 \times 1, \mbox{47 to 64} \\ 3 \times 3, \mbox{18 to 35} \\ 1 \times 1, 19 \\"
                r" \mbox{ECA} \end{array}\right] \times 3$ & 1 projected, 2 identity &",
                id="pruned-widths",
            ),
        ],
    )
    def test_latex_says_of_blocks_what_the_other_tables_say(
        self, resnetgen: Run, spec: str, bracket: str
    ) -> None:
        assert bracket in resnetgen("show", spec, "--format", "latex").out

    def test_latex_says_once_which_package_it_needs(self, resnetgen: Run) -> None:
        out = resnetgen("show", "resnet18", "resnet34", "--format", "latex").out
        first, second, *_ = out.splitlines()
        assert first == r"% These tables need \usepackage{booktabs} in the preamble."
        assert second == r"\begin{table}"
        assert (out.count("%"), out.count(r"\begin{table}")) == (1, 2)

    def test_latex_leaves_names_alone_that_look_like_a_product(self, resnetgen: Run) -> None:
        arguments = ("resnet50", "--format", "latex", "--set", "name=resnext_32x4")
        assert r"\caption{resnext\_32x4: 50 layers" in resnetgen("show", *arguments).out

    @pytest.mark.parametrize("target", ["torch", "keras", "onnx"])
    def test_source_is_what_build_writes(self, resnetgen: Run, target: str) -> None:
        file = {"torch": "model_torch.py", "keras": "model_keras.py", "onnx": "model.onnxtxt"}
        resnetgen("build", "resnet18", "--no-verify", "--no-weights", "--set", "classes=10")
        out = resnetgen("show", "resnet18", "--format", target, "--set", "classes=10").out
        assert out == Path("generated/resnet18", file[target]).read_text()

    def test_source_is_of_one_network(self, resnetgen: Run) -> None:
        assert resnetgen("show", "resnet18", "resnet34", "--format", "torch").code == 2

    @pytest.mark.parametrize("form", ["torch", "table", "markdown"])
    def test_json_and_another_format_are_not_both_asked_for(
        self, resnetgen: Run, form: str
    ) -> None:
        ran = resnetgen("show", "resnet18", "--json", "--format", form)
        assert (ran.code, ran.err) == (2, "")
        (found,) = ran.json["diagnostics"]
        assert found["message"] == f"--json and --format {form} ask for two different things"
        assert resnetgen("show", "resnet18", "--json", "--format", "json").code == 0

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

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("mine", "hint: did you mean `mine.yaml`?"),
            ("resnet21", "hint: did you mean `resnet20`?"),
            ("resnext52_32x4d", "hint: did you mean `resnext50_32x4d`?"),
            ("resnext48", "hint: did you mean `resnext50_32x4d`?"),
            ("heir.yaml", "heir.yaml:1:10: error: there is no bundled spec `mine`"),
            ("heir.yaml", "hint: did you mean `mine.yaml`?"),
            ("cousin.yaml", "hint: did you mean `resnet20`?"),
            ("resnet50.yaml", "resnet50.yaml: error: the file does not exist\n"
             "hint: did you mean the bundled spec `resnet50`?"),
            (".", ".: error: the file is a directory\n"
             "expected: a YAML file\nhint: name a file in it, as in `./cousin.yaml`"),
            ("built", "hint: name a file in it, as in `built/spec.yaml`"),
            ("-", "error: `-` is no spec: what comes from a pipe is not read\n"
             "expected: a bundled name, as `resnetgen specs` lists them, or the path of a regular"
             " file\nhint: write it to a file, and name that"),
            ("/dev/fd/99", "error: `/dev/fd/99` is no spec: what comes from a pipe is not read\n"),
        ],
    )  # fmt: skip
    def test_what_was_meant_is_found_out(self, resnetgen: Run, spec: str, said: str) -> None:
        Path("mine.yaml").write_text("extends: resnet50\nname: mine\n")
        Path("heir.yaml").write_text("extends: mine\nname: heir\n")
        Path("cousin.yaml").write_text("extends: resnet21\nname: cousin\n")
        Path("built").mkdir()
        Path("built/spec.yaml").touch()
        ran = resnetgen("check", spec)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err

    def test_folder_with_the_name_of_a_bundled_spec_hides_nothing(self, resnetgen: Run) -> None:
        Path("resnet20").mkdir()
        assert resnetgen("check", "resnet20").code == 0

    def test_override_can_be_wrong_too(self, resnetgen: Run) -> None:
        assert resnetgen("check", "resnet18", "--set", "stages.9.repeats=1").code == 2


def test_specs_lists_all_that_ship(resnetgen: Run) -> None:
    from resnetgen.spec.load import bundled

    facts = resnetgen("specs", "--json").json["specs"]
    assert {item["name"] for item in facts} == set(bundled())
    assert all(Path(item["file"]).is_file() for item in facts)
    out = resnetgen("specs").out
    assert all(f"\n{name} " in out for name in bundled())


def test_specs_fit_into_80_columns_with_their_folders_said_once(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = resnetgen("specs", "--json").json["specs"]
    monkeypatch.setenv("COLUMNS", "80")
    *table, last = resnetgen("specs").out.splitlines()
    assert max(map(len, table)) <= 80
    said = last.removeprefix("Their files: NAME.yaml in ").split(" or ")
    assert {os.path.dirname(item["file"]) for item in facts} == set(said)
    assert all(os.path.basename(item["file"]) == f"{item['name']}.yaml" for item in facts)
    monkeypatch.delenv("COLUMNS")
    wide = resnetgen("specs").out
    files = {item["name"]: os.path.relpath(item["file"], specs_directory()) for item in facts}
    assert files["resnet10t"] == "timm/resnet10t.yaml"
    assert all(f"  {file}\n" in wide for file in files.values())


def test_specs_are_sorted_by_folder_and_number(resnetgen: Run) -> None:
    lines = resnetgen("specs").out.splitlines()
    rows = [line.split() for line in lines[3 : lines.index("", 3)]]
    folders = [os.path.dirname(row[-1]) for row in rows]
    assert folders == sorted(folders)
    assert folders[0] == ""
    names = [row[0] for row in rows]
    assert [name for name in names if name.startswith("plain")] == [
        "plain18", "plain20", "plain32", "plain34", "plain44", "plain56",
    ]  # fmt: skip
    family = ["resnet10t", "resnet14t", "resnet18d", "resnet26", "resnet26d", "resnet26t"]
    start = names.index("resnet10t")
    assert names[start : start + len(family)] == family
    facts = resnetgen("specs", "--json").json["specs"]
    assert [item["name"] for item in facts] == names


def test_specs_can_be_chosen_by_a_part_of_their_names(resnetgen: Run) -> None:
    names = [item["name"] for item in resnetgen("specs", "ResNet18", "--json").json["specs"]]
    assert names == ["resnet18", "resnet18_paper", "flax_resnet18", "resnet18d", "seresnet18"]
    out = resnetgen("specs", "plain").out
    assert "\nplain34 " in out
    assert "resnet" not in out.partition("Their files: ")[0]
    assert out.count(" or ") == 0
    named = [item["name"] for item in resnetgen("specs", "cifar", "--json").json["specs"]]
    assert named == ["preact_resnet164", "preact_resnet1001", "wrn_16_8", "wrn_28_10", "wrn_40_4"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [("zzz", "`resnetgen specs` lists them all"), ("resnet21", "did you mean `resnet20`?")],
)
def test_specs_of_which_none_is_named_so_are_bad_input(
    resnetgen: Run, text: str, hint: str
) -> None:
    ran = resnetgen("specs", text)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"error: no bundled spec has `{text}` in its name, and no folder of them is called so\n"
        f"hint: {hint}\n"
    )
    assert resnetgen("specs", text, "--json").json["diagnostics"][0]["hint"] == hint


def test_specs_fit_into_60_columns_with_long_names_on_lines_of_their_own(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    *table, _ = resnetgen("specs").out.splitlines()
    assert max(map(len, table)) <= 60
    name = table.index("seresnextaa101d_32x8d")
    assert table[name + 1].split()[0] == "101"
    assert "resnet18         18   11,689,512    1,814,073,344  3x224x224" in table


@pytest.mark.parametrize(
    "like",
    ["resnet50", "resnet110", "preact_resnet164", "keras_resnet50v2", "caffe_resnet50",
     "regnet_y_400mf", "seresnextaa101d_32x8d", "ecaresnet50d_pruned"],
)  # fmt: skip
def test_new_writes_the_whole_of_another_network(resnetgen: Run, like: str) -> None:
    written = resnetgen("new", "mine", "--like", like, "--set", "classes=7")
    assert (written.code, written.err) == (0, "")
    assert written.out.startswith("mine.yaml: mine, ")
    lines = Path("mine.yaml").read_text().splitlines()
    assert lines[2] == "name: mine"
    assert not any(line.startswith("extends") for line in lines)
    compared = resnetgen("diff", "mine.yaml", like, "--json")
    assert [fact["fact"] for fact in compared.json["facts"]] == ["name", "classes"]


def test_new_without_like_is_the_readme_s_resnet50(resnetgen: Run) -> None:
    assert resnetgen("new", "mine", "-o", "other.yml").out == (
        "other.yml: mine, 50 layers, like resnet50\n"
    )
    readme = (specs_directory().parent / "README.md").read_text()
    stated = Path("other.yml").read_text().partition("name: mine\n")[2]
    assert f"```yaml\nname: resnet50\n{stated}```" in readme
    assert resnetgen("check", "other.yml").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("My-Net",), "`NAME` cannot be `My-Net`: it contains `M`"),
        (("resnet18",), "hint: `resnetgen new my_resnet18 --like resnet18` starts from it"),
        (("mine", "--like", "resnet51"), "there is no bundled spec `resnet51`"),
        (("mine", "--set", "stem.width=0"), "`stem.width` is `0`"),
        (("mine", "--set", "name=other"), "--set name asks for another name than NAME"),
        (("mine", "-o", "mine.json"), "expected: .yaml or .yml"),
        (("mine", "-o", "nowhere/mine.yaml"), "nowhere: error: does not exist"),
        (("taken",), "taken.yaml: error: is there already"),
    ],
)
def test_new_that_cannot_be_is_bad_input_and_writes_nothing(
    resnetgen: Run, arguments: tuple[str, ...], said: str
) -> None:
    Path("taken.yaml").write_text("mine")
    ran = resnetgen("new", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert os.listdir() == ["taken.yaml"]
    assert Path("taken.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("sub/mynet.yaml", "sub/mynet.yaml"),
        ("my net.yaml", "'my net.yaml'"),
        ("my\nname: net.yaml", r"'my\nname: net.yaml'"),
    ],
)
def test_new_names_its_file_on_one_line(resnetgen: Run, file: str, named: str) -> None:
    Path("sub").mkdir()
    assert resnetgen("new", "mynet", "-o", file).code == 0
    first, second, third, *_ = Path(file).read_text().splitlines()
    assert first == (
        f"# `resnetgen check {named}` validates this, "
        f"and `resnetgen build {named}` compiles and proves it."
    )
    assert (second[:2], third) == ("# ", "name: mynet")
    assert resnetgen("check", file).code == 0


def test_new_overwrites_when_told_to(resnetgen: Run) -> None:
    Path("taken.yaml").write_text("mine")
    assert resnetgen("new", "taken", "--force").code == 0
    assert "name: taken\n" in Path("taken.yaml").read_text()


def test_schema_is_json_schema(resnetgen: Run) -> None:
    schema = resnetgen("schema").json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["additionalProperties"] is False


def test_depth_in_place_of_repeats_names_them_and_a_way(resnetgen: Run) -> None:
    ran = resnetgen("check", "resnet34", "--set", "depth=40")
    assert (ran.code, ran.err) == (
        2,
        "--set:1:7: error: `depth` alone does not say how often each of 4 stages repeats its"
        " blocks, and it replaces the repeats [3, 4, 6, 3] of `resnet34.yaml`\n"
        "  1 | depth=40\n"
        "    |       ^^\n"
        "expected: three stages of equal blocks; for others state `repeats` instead of `depth`\n"
        "hint: `repeats: [3, 4, 9, 3]` gives 40\n",
    )
    assert resnetgen("check", "resnet34", "--set", "repeats=[3,4,9,3]").code == 0


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


@pytest.mark.parametrize(
    "arguments", ["show resnet20 --block conv2_x --json", "specs", "check resnet18", "--version"]
)
def test_reader_that_has_gone_ends_it_like_the_signal(arguments: str) -> None:
    """Whether Typer prints or we do."""
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "resnetgen", *arguments.split()],
        stdout=writer, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("arguments", ["specs", "show resnet18 --format torch", "check resnet18"])
def test_closed_stdout_is_one_message(arguments: str) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m resnetgen {arguments} >&-"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (
        2,
        "stdout: error: cannot be written: Bad file descriptor\n",
    )


def test_closed_stderr_changes_no_exit_code() -> None:
    command = f"{sys.executable} -m resnetgen check nothing.yaml 2>&-"
    ran = subprocess.run(["bash", "-c", command], capture_output=True)
    assert (ran.returncode, ran.stdout) == (2, b"")


@pytest.mark.parametrize("arguments", ["check nothing.yaml", "check", "nothing"])
def test_stderr_that_takes_nothing_changes_no_exit_code(arguments: str) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "resnetgen", *arguments.split()]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=full)
    assert (ran.returncode, ran.stdout) == (2, b"")


@pytest.mark.parametrize("arguments", ["specs", "show resnet18 --format torch", "--help"])
def test_stdout_that_takes_nothing_is_one_message(arguments: str) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "resnetgen", *arguments.split()],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr == "stdout: error: cannot be written: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_table_is_ruled_with_what_stdout_can_show(encoding: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "resnetgen", "show", "resnet18"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    _title, head, rule, *_ = ran.stdout.decode(encoding).splitlines()
    assert rule == "-" * len(head)


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


INTERRUPTED_AT_THE_WEIGHTS = """
import os, signal, sys
from resnetgen.__main__ import main

def hear(event, arguments):
    if event == "open" and str(arguments[0]).endswith("model.safetensors"):
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(hear)
sys.argv[1:] = ["build", "resnet20", "--no-verify"]
sys.exit(main())
"""


def test_interrupt_says_so_and_what_was_written(tmp_path: Path) -> None:
    """No traceback, no litter."""
    command = [sys.executable, "-c", INTERRUPTED_AT_THE_WEIGHTS]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = "nothing was written\ninterrupted\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", said)
    assert list(tmp_path.iterdir()) == []


def run_in_process(run: str) -> "subprocess.CompletedProcess[str]":
    """Runs a process whose command line is this function `run`."""
    program = (
        "import os, signal, sys, tempfile\n"
        "from pathlib import Path\n"
        "from threading import Event\n"
        "from resnetgen import cli\n"
        "from resnetgen.__main__ import main\n"
        f"{dedent(run)}\n"
        "cli.main = run\n"
        "sys.exit(main())\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_waits_for_the_end_of_an_import(tmp_path: Path, name: str, code: int) -> None:
    """Python 3.11 makes an exception of another kind of one that comes in `__set_name__`."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "class Named:\n"
        "    def __set_name__(self, owner, name):\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "class Owner:\n"
        "    attribute = Named()\n"
        "print('imported', flush=True)\n"
    )
    run = f"""
        def run():
            sys.path.append({str(tmp_path)!r})
            import slow
            print("imported, and not ended", flush=True)
    """
    ran = run_in_process(run)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "imported\n", "")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_waits_for_a_process_that_is_being_started(name: str, code: int) -> None:
    """Whoever starts one cannot end it before it has it."""
    run = f"""
        def run():
            import subprocess
            from resnetgen.child.launch import launch

            fork = subprocess._fork_exec

            def fork_and_signal(*options):
                child = fork(*options)
                print(child, flush=True)
                os.kill(os.getpid(), signal.{name})
                return child

            subprocess._fork_exec = fork_and_signal
            with tempfile.TemporaryDirectory() as scratch:
                launch("resnetgen.child.process", Path(scratch), environment=dict(os.environ),
                       timeout=60, stop=Event())
    """
    ran = run_in_process(run)
    assert (ran.returncode, ran.stderr) == (code, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(ran.stdout), 0)


@pytest.mark.parametrize("within", [True, False])
def test_failure_behind_a_signal_is_no_quiet_end(within: bool) -> None:
    run = f"""
        def run():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if {within}:
                    raise ValueError("a mistake of ours")
            raise ValueError("a mistake of ours")
    """
    ran = run_in_process(run)
    assert ran.returncode == 1
    assert ran.stderr.endswith("ValueError: a mistake of ours\n")


def test_documents_are_ascii_whatever_the_terminal(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "resnetgen", "check", "résnet.yaml", "--json"],
        cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["diagnostics"][0]["file"] == "résnet.yaml"


def test_working_directory_that_is_gone_is_a_diagnostic(resnetgen: Run, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    ran = resnetgen("build", "resnet18", "--no-verify")
    assert (ran.code, ran.err) == (2, "error: the working directory is no longer there\n")
