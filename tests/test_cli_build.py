"""`build` through the front door: what it writes, what it leaves alone, and what it says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Run

from resnetgen.digests import sha256_of

TINY = """
name: tiny
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: conv2_x, repeats: 1, width: 8, stride: 1}
  - {name: conv3_x, repeats: 2, width: 16, stride: 2}
"""
FILES = [
    "README.md",
    "manifest.json",
    "model.onnx",
    "model.onnxtxt",
    "model.safetensors",
    "model_flax.py",
    "model_keras.py",
    "model_torch.py",
    "spec.yaml",
]


def tiny(name: str = "tiny") -> str:
    """Writes the spec under another name; the file's name."""
    path = Path(f"{name}.yaml")
    path.write_text(TINY.replace("tiny", name))
    return str(path)


def names(directory: str) -> list[str]:
    return sorted(path.name for path in Path(directory).iterdir())


def manifest(directory: str) -> dict[str, object]:
    return json.loads((Path(directory) / "manifest.json").read_text())


def test_build_writes_the_files_and_says_where(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny(), "--no-verify")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "tiny: 8 layers, 9,938 parameters, 3,498,144 MACs -> generated/tiny\n"
    assert names("generated/tiny") == FILES
    assert names("generated") == ["tiny"]


def test_json_has_the_facts_and_nothing_else_is_on_stdout(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny(), "--no-verify", "--json", "-o", "out")
    assert ran.code == 0
    spec_sha256 = manifest("out/tiny")["spec_sha256"]
    assert ran.json == {
        "name": "tiny",
        "spec_sha256": spec_sha256,
        "depth": 8,
        "macs": 3498144,
        "params": {"trainable": 9938, "buffers": 208},
        "output_dir": "out/tiny",
        "files": FILES,
        "verification": {"status": "not_run"},
    }


def test_several_specs_are_a_list(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny("a"), tiny("b"), "--no-verify", "--json")
    assert [network["name"] for network in ran.json["networks"]] == ["a", "b"]
    assert names("generated") == ["a", "b"]


def test_same_build_gives_the_same_bytes(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "-o", "one")
    resnetgen("build", tiny(), "--no-verify", "-o", "two", "--jobs", 1)
    for name in FILES:
        assert Path("one/tiny", name).read_bytes() == Path("two/tiny", name).read_bytes()


def test_seed_changes_the_weights_alone(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "-o", "zero")
    resnetgen("build", tiny(), "--no-verify", "-o", "one", "--seed", 1)
    differing = [
        name
        for name in FILES
        if Path("zero/tiny", name).read_bytes() != Path("one/tiny", name).read_bytes()
    ]
    assert differing == ["manifest.json", "model.safetensors"]
    assert manifest("one/tiny")["model.safetensors"]["seed"] == 1  # type: ignore[index]


def test_manifest_records_the_source_relative_to_the_directory(resnetgen: Run) -> None:
    Path("specs").mkdir()
    Path("specs/tiny.yaml").write_text(TINY)
    resnetgen("build", "specs/tiny.yaml", "--no-verify", "--no-weights", "--set", "classes=7")
    assert manifest("generated/tiny")["source"] == "../../specs/tiny.yaml"
    assert manifest("generated/tiny")["overrides"] == ["classes=7"]


def test_manifest_records_a_bundled_name_however_it_was_asked_for(resnetgen: Run) -> None:
    from resnetgen.spec.load import bundled

    for reference in ("resnet20", str(bundled()["resnet20"])):
        ran = resnetgen("build", reference, "--no-verify", "--no-weights", "-o", reference[-4:])
        assert ran.code == 0
        assert manifest(f"{reference[-4:]}/resnet20")["source"] == "bundled:resnet20"


def test_targets_limit_what_is_written(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights", "--target", "torch")
    assert names("generated/tiny") == ["README.md", "manifest.json", "model_torch.py", "spec.yaml"]
    card = Path("generated/tiny/README.md").read_text()
    assert "model_torch" in card
    assert "model_keras" not in card


def test_targets_join_those_of_an_earlier_build_of_the_spec(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify")
    whole = {name: Path("generated/tiny", name).read_bytes() for name in FILES}
    resnetgen("build", tiny(), "--no-verify", "--no-weights", "--target", "keras")
    assert {name: Path("generated/tiny", name).read_bytes() for name in FILES} == whole
    resnetgen("build", tiny(), "--no-verify", "--target", "keras", "--set", "classes=7")
    assert names("generated/tiny") == [
        "README.md",
        "manifest.json",
        "model.safetensors",
        "model_keras.py",
        "spec.yaml",
    ]


def test_unknown_target_names_the_nearest(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny(), "--target", "torch,kears")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: there is no target `kears`\nexpected: torch, keras, flax, onnx\n"
        "hint: did you mean `keras`?\n"
    )


def test_edited_file_is_refused_and_forced(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify")
    model = Path("generated/tiny/model_torch.py")
    source = model.read_text()
    model.write_text("mine")
    ran = resnetgen("build", tiny(), "--no-verify")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "generated/tiny/model_torch.py: error: was edited since resnetgen wrote it\n"
        "hint: move it away or use --force\n"
    )
    assert model.read_text() == "mine"
    assert resnetgen("build", tiny(), "--no-verify", "--force").code == 0
    assert model.read_text() == source


def test_spec_that_lies_in_its_own_directory_is_lost_to_no_other(resnetgen: Run) -> None:
    spec = tiny()
    resnetgen("build", spec, "--no-verify", "--no-weights")
    own = Path("generated/tiny/spec.yaml")
    text = own.read_text()
    assert "classes: 10" in text
    own.write_text(text.replace("classes: 10", "classes: 4"))
    assert resnetgen("build", own, "--no-verify", "--no-weights").code == 0
    ran = resnetgen("build", spec, "--no-verify", "--no-weights")
    assert (ran.code, ran.out, ran.err) == (
        2, "",
        "generated/tiny/spec.yaml: error: is what the network here was built from, and would be "
        "overwritten\nhint: copy it elsewhere and use --force\n",
    )  # fmt: skip
    assert "classes: 4" in own.read_text()
    assert resnetgen("build", spec, "--no-verify", "--no-weights", "--force").code == 0
    assert "classes: 10" in own.read_text()


def test_edited_weights_are_refused_or_kept(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify")
    weights = Path("generated/tiny/model.safetensors")
    weights.write_bytes(b"trained for a week")
    ran = resnetgen("build", tiny(), "--no-verify")
    assert (ran.code, ran.err) == (
        2,
        "generated/tiny/model.safetensors: error: was edited since resnetgen wrote it\n"
        "hint: move it away, keep it with --no-weights, or use --force\n",
    )
    ran = resnetgen("build", tiny(), "--no-verify", "--set", "classes=7")
    assert ran.err.endswith("\nhint: move it away or use --force\n")
    assert resnetgen("build", tiny(), "--no-verify", "--no-weights").code == 0
    assert weights.read_bytes() == b"trained for a week"


def test_files_of_the_user_stay(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify")
    Path("generated/tiny/notes.txt").write_text("mine")
    resnetgen("build", tiny(), "--no-verify", "--set", "classes=7")
    assert Path("generated/tiny/notes.txt").read_text() == "mine"


def certify(*files: str) -> Path:
    """Puts a certificate of these files, as they are now, into the built directory."""
    hashes = {name: sha256_of(Path("generated/tiny", name)) for name in files}
    path = Path("generated/tiny/certificate.json")
    path.write_text(json.dumps({"files": hashes}))
    return path


def test_certificate_stays_while_what_it_is_about_does(resnetgen: Run) -> None:
    """Though another file comes again, as the weights do in a fresh clone, or changes."""
    resnetgen("build", tiny(), "--no-verify")
    certificate = certify("spec.yaml", "model.safetensors", "model_torch.py")
    for name in ("model.safetensors", "model_keras.py"):
        Path("generated/tiny", name).unlink()
        ran = resnetgen("build", tiny(), "--no-verify")
        assert (ran.code, ran.err) == (0, "")
        assert certificate.exists()
        assert Path("generated/tiny", name).exists()
    ran = resnetgen("build", tiny(), "--no-verify", "--no-weights", "--target", "torch")
    assert (ran.err, certificate.exists()) == ("", True)
    resnetgen("build", tiny("other"), "--no-verify")
    shutil.copy("generated/other/README.md", "generated/tiny/README.md")
    ran = resnetgen("build", "tiny.yaml", "--no-verify", "--force")
    assert (ran.err, certificate.exists()) == ("", True)


@pytest.mark.parametrize(
    ("about", "options"),
    [
        (("spec.yaml", "model_torch.py"), ("--set", "classes=7")),
        (("spec.yaml", "model.safetensors"), ("--seed", 1)),
        (("spec.yaml", "model_torch.py"), ("--force", "--seed", 1)),
    ],
    ids=["another spec", "other weights", "without the weights"],
)
def test_certificate_that_no_longer_holds_goes_with_a_word(
    resnetgen: Run, about: tuple[str, ...], options: tuple[object, ...]
) -> None:
    resnetgen("build", tiny(), "--no-verify")
    certificate = certify(*about)
    ran = resnetgen("build", tiny(), "--no-verify", "--json", *options)
    said = f"{certificate}: removed, since it was not about the files as they are now\n"
    assert (ran.code, ran.err) == (0, said)
    assert "certificate.json" not in ran.json["files"]
    assert not certificate.exists()


def test_output_that_names_nothing_is_bad_input(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny(), "--no-verify", "-o", "")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: a path on the command line is empty")
    assert [path.name for path in Path().iterdir()] == ["tiny.yaml"]


def test_output_that_is_a_link_to_nothing_is_called_so(resnetgen: Run) -> None:
    Path("dangling").symlink_to("nowhere")
    ran = resnetgen("build", tiny(), "--no-verify", "-o", "dangling")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "dangling: error: cannot be written: it is a link to what is not there\n"
    assert not Path("nowhere").exists()


def test_other_spec_of_the_same_name_replaces_with_a_word(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify")
    Path("mine.yaml").write_text(TINY.replace("classes: 10", "classes: 7"))
    ran = resnetgen("build", "mine.yaml", "--no-verify")
    assert ran.err == "generated/tiny: replaces what was built from `tiny.yaml`\n"
    assert resnetgen("build", "mine.yaml", "--no-verify", "--set", "classes=8").err == ""
    ran = resnetgen("build", "mine.yaml", "--no-verify", "--no-weights", "--target", "torch")
    assert ran.err == (
        "generated/tiny: removes what was built of another spec: model.onnx, model.onnxtxt, "
        "model_flax.py, model_keras.py, model.safetensors\n"
    )


@pytest.mark.parametrize("option", [("--level", "shapes"), ("--device", "cpu"), ("--timeout", 9)])
def test_options_of_a_run_are_refused_where_nothing_runs(
    resnetgen: Run, option: tuple[object, ...]
) -> None:
    ran = resnetgen("build", tiny(), "--no-verify", *option)
    assert ran.code == 2
    assert f"{option[0]} means nothing to --no-verify, which runs nothing" in ran.err
    assert not Path("generated").exists()


def test_seed_is_refused_where_nothing_is_drawn(resnetgen: Run) -> None:
    ran = resnetgen("build", tiny(), "--no-verify", "--no-weights", "--seed", 3)
    assert (ran.code, ran.out) == (2, "")
    what = "a build that neither writes weights nor runs anything"
    assert f"error: --seed means nothing to {what}\n" in ran.err
    assert not Path("generated").exists()


def test_nothing_is_written_if_one_spec_is_wrong(resnetgen: Run) -> None:
    Path("wrong.yaml").write_text(TINY.replace("classes: 10", "classes: 0"))
    Path("worse.yaml").write_text(TINY.replace("block: basic", "block: basik"))
    ran = resnetgen("build", tiny(), "wrong.yaml", "worse.yaml", "--no-verify", "--json")
    assert ran.code == 2
    found = [(item["file"], item["line"], item["hint"]) for item in ran.json["diagnostics"]]
    assert found == [("worse.yaml", 6, "did you mean `basic`?"), ("wrong.yaml", 4, None)]
    assert not Path("generated").exists()


def test_nothing_is_written_if_one_directory_refuses(resnetgen: Run) -> None:
    Path("generated/b").mkdir(parents=True)
    Path("generated/b/README.md").write_text("mine")
    ran = resnetgen("build", tiny("a"), tiny("b"), "--no-verify")
    assert ran.code == 2
    assert names("generated") == ["b"]


def test_two_specs_of_one_name_are_refused(resnetgen: Run) -> None:
    Path("other.yaml").write_text(TINY)
    ran = resnetgen("build", tiny(), "other.yaml", "--no-verify")
    assert ran.code == 2
    assert ran.err == (
        "other.yaml: error: has the name `tiny`, and so has tiny.yaml\n"
        "hint: both would be written to the same directory\n"
    )
    assert not Path("generated").exists()


def test_spec_that_is_given_twice_is_refused(resnetgen: Run) -> None:
    from resnetgen.spec.load import bundled

    ran = resnetgen("build", "resnet20", bundled()["resnet20"], "--no-verify")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"{bundled()['resnet20']}: error: is given twice, first as resnet20\nhint: name it once\n"
    )


def run_within(seconds: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process, for what might never end."""
    return subprocess.run(
        [sys.executable, "-m", "resnetgen", *arguments],
        capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip


def test_link_into_the_same_parent_does_not_wait_for_its_own_run(resnetgen: Run) -> None:
    Path("out").mkdir()
    Path("out/b").symlink_to("elsewhere")
    ran = run_within(30, "build", tiny("a"), tiny("b"), "--no-verify", "--no-weights", "-o", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert names("out") == ["a", "b", "elsewhere"]
    assert names("out/elsewhere") == [name for name in FILES if name != "model.safetensors"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("a", "two networks would be written here"),
        ("a/inside", "another network would be written in here, to {here}/out/a/inside"),
    ],
)
def test_link_to_where_another_network_goes_is_refused(
    resnetgen: Run, tmp_path: Path, target: str, said: str
) -> None:
    Path("out/a").mkdir(parents=True)
    Path("out/b").symlink_to(target)
    ran = resnetgen("build", tiny("a"), tiny("b"), "--no-verify", "--force", "-o", tmp_path / "out")
    here = os.path.realpath(tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{here}/out/a: error: {said.format(here=here)}\nhint: ")
    assert names("out/a") == []


def test_link_that_leads_in_a_circle_is_one_message(resnetgen: Run) -> None:
    Path("generated").mkdir()
    Path("generated/tiny").symlink_to("tiny")
    ran = resnetgen("build", tiny(), "--no-verify", "--no-weights")
    assert ran.code == 2
    assert ran.err.endswith("generated/tiny: error: cannot be written: Not a directory\n")


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_edit_made_while_weights_are_drawn_is_not_lost(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    from resnetgen.weights import file

    resnetgen("build", tiny(), "--no-verify", "--no-weights", "--target", "torch")
    model, card = Path("generated/tiny/model_torch.py"), Path("generated/tiny/README.md")
    before = card.read_bytes()
    draw = file.write

    def edit_meanwhile(path: Path, *arguments: Any, **keywords: Any) -> str:
        model.write_text("mine")
        Path("generated/tiny/model_keras.py").write_text("mine too")
        return draw(path, *arguments, **keywords)

    monkeypatch.setattr(file, "write", edit_meanwhile)
    ran = resnetgen("build", tiny(), "--no-verify", "--set", "classes=7", *options)
    assert (ran.code, ran.out) == (2, "")
    changed = "changed while the build was running, so nothing was replaced\nhint: build again\n"
    assert ran.err == (
        f"generated/tiny/model_keras.py: error: {changed}\n"
        f"generated/tiny/model_torch.py: error: {changed}"
    )
    assert (model.read_text(), card.read_bytes()) == ("mine", before)
    assert names("generated") == ["tiny"]


def test_path_that_is_no_utf8_is_recorded(resnetgen: Run) -> None:
    folder = Path(os.fsdecode(b"\xff"))
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    assert resnetgen("build", folder / "tiny.yaml", "--no-verify", "--no-weights").code == 0
    assert manifest("generated/tiny")["source"] == f"../../{folder}/tiny.yaml"
    assert resnetgen("build", "--check").code == 0


def test_build_needs_a_spec(resnetgen: Run) -> None:
    assert resnetgen("build").code == 2


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--seed", "many"]])
def test_wrong_options_are_bad_input(resnetgen: Run, arguments: list[str]) -> None:
    ran = resnetgen("build", "resnet18", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert arguments[0] in ran.err
    ran = resnetgen("build", "resnet18", *arguments, "--json")
    assert (ran.code, ran.err) == (2, "")
    assert ran.json["diagnostics"][0]["code"] == "usage"


def test_full_disk_is_one_message(resnetgen: Run) -> None:
    """A limit on the size of files stands for the disk; the weights exceed it."""
    resnetgen("build", "resnet20", "--no-verify", "--no-weights")
    before = names("generated/resnet20")
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "from resnetgen.cli import main\n"
        "sys.argv = ['resnetgen', 'build', 'resnet20', '--no-verify']\n"
        "sys.exit(main())\n"
    )
    ran = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr == "generated/resnet20: error: cannot be written: File too large\n"
    assert names("generated/resnet20") == before
    assert names("generated") == ["resnet20"]


def test_output_that_cannot_be_a_directory_is_one_message(resnetgen: Run) -> None:
    Path("file").write_text("")
    ran = resnetgen("build", tiny(), "--no-verify", "-o", "file/below")
    assert ran.code == 2
    assert ran.err == "file/below: error: cannot be written: Not a directory\n"


@pytest.mark.parametrize("option", ["--target", "--no-weights"])
def test_help_says_that_what_is_left_out_stays_for_the_same_spec_alone(
    resnetgen: Run, option: str
) -> None:
    said = " ".join(
        resnetgen("build", "--help").out.split(f"  {option} ")[1].split("  --")[0].split()
    )
    assert "if the spec is the one that" in said
    assert "else is removed" in said or "else are removed" in said


class TestBrokenTargets:
    """Targets of other packages that are not what they should be."""

    @pytest.fixture
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """A function that puts packages on the path, each with one target."""
        place = tmp_path / "site"
        monkeypatch.setenv("PYTHONPATH", str(place))

        def install(package: str, target: str, value: str) -> None:
            metadata = place / f"{package}-1.dist-info"
            metadata.mkdir(parents=True)
            (metadata / "METADATA").write_text(f"Name: {package}\nVersion: 1\n")
            (metadata / "entry_points.txt").write_text(f"[resnetgen.targets]\n{target} = {value}\n")

        return install

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("no_such_module:TARGET",
             "of bad cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
            ("json:TARGET",
             "of bad cannot be loaded: AttributeError: module 'json' has no attribute 'TARGET'"),
            ("json:dumps", "of bad is no Target: json:dumps is a value of type function"),
        ],
    )  # fmt: skip
    def test_they_are_named_and_hinder_nothing_else(
        self, resnetgen: Run, install: Callable[..., None], value: str, said: str
    ) -> None:
        install("bad", "odd", value)
        without = ("--no-verify", "--no-weights")
        ran = run_within(60, "build", tiny(), *without)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == (
            f"error: the target `odd` {said}\nhint: mend or uninstall bad, or name other targets\n"
        )
        for _ in range(2):
            assert run_within(60, "build", tiny(), *without, "--target", "torch").returncode == 0
        assert run_within(60, "build", "--check").returncode == 0
        assert run_within(60, "show", tiny(), "--format", "torch").returncode == 0

    def test_files_that_may_be_theirs_are_not_called_obsolete(
        self, resnetgen: Run, install: Callable[..., None]
    ) -> None:
        resnetgen("build", tiny(), "--no-verify", "--no-weights")
        path = Path("generated/tiny/manifest.json")
        path.write_text(path.read_text().replace('"files": {', '"files": {"model_odd.py": "0",'))
        install("bad", "odd", "no_such_module:TARGET")
        ran = run_within(60, "build", "--check")
        assert ran.returncode == 2
        assert ran.stderr.startswith("error: the target `odd` of bad cannot be loaded: ")

    def test_ours_is_preferred_to_one_of_the_same_name(
        self, resnetgen: Run, install: Callable[..., None]
    ) -> None:
        install("bad", "torch", "no_such_module:TARGET")
        ran = run_within(60, "build", tiny(), "--no-verify", "--no-weights")
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_two_of_one_name_are_refused(
        self, resnetgen: Run, install: Callable[..., None]
    ) -> None:
        install("bad", "odd", "json:dumps")
        install("worse", "odd", "json:loads")
        ran = run_within(60, "show", tiny(), "--format", "odd")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == (
            "error: the target `odd` is in bad and worse\nhint: uninstall all but one of them\n"
        )


class TestCheck:
    """`build --check`."""

    def test_fresh_build_is_current(self, resnetgen: Run) -> None:
        resnetgen("build", tiny("a"), tiny("b"), "--no-verify", "--set", "classes=7")
        ran = resnetgen("build", "--check")
        assert (ran.code, ran.out) == (0, "current: a, b\n")
        assert resnetgen("build", "--check", "--json").json["current"] is True

    def test_option_that_it_does_not_look_at_is_refused(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        ran = resnetgen("build", "--check", "tiny.yaml", "--target", "torch", "--no-verify")
        assert (ran.code, ran.out) == (2, "")
        unread = "means nothing to --check, which writes and runs nothing\nhint: leave it out\n"
        assert ran.err == f"error: --target {unread}\nerror: --no-verify {unread}"

    def test_it_does_not_depend_on_where_it_is_run(
        self, resnetgen: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resnetgen("build", tiny(), "--no-verify")
        monkeypatch.chdir("generated")
        assert resnetgen("build", "--check", "-o", ".").code == 0

    def test_edited_spec_shows_what_differs_and_writes_nothing(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        before = {path: path.read_bytes() for path in Path("generated/tiny").iterdir()}
        Path("tiny.yaml").write_text(TINY.replace("classes: 10", "classes: 11"))
        ran = resnetgen("build", "--check")
        assert ran.code == 1
        assert "generated/tiny/model_torch.py: differs\n" in ran.out
        assert "    -classes: 10\n    +classes: 11\n" in ran.out
        assert ran.out.endswith("not current, 1 of 1: tiny\n")
        assert {path: path.read_bytes() for path in Path("generated/tiny").iterdir()} == before

    def test_weights_and_certificate_do_not_count(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        Path("generated/tiny/model.safetensors").unlink()
        Path("generated/tiny/certificate.json").write_text("{}")
        assert resnetgen("build", "--check").code == 0

    def test_weights_of_any_origin_are_current_until_they_are_edited(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify", "--seed", 1)
        assert resnetgen("build", "--check").code == 0
        Path("generated/tiny/model.safetensors").write_bytes(b"trained for a week")
        ran = resnetgen("build", "--check")
        assert (ran.code, ran.out) == (
            1,
            "generated/tiny/model.safetensors: edited\nnot current, 1 of 1: tiny\n",
        )
        (found,) = resnetgen("build", "--check", "--json").json["directories"][0]["files"]
        assert (found["name"], found["state"]) == ("model.safetensors", "edited")

    def test_edited_missing_and_obsolete_files_are_named(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        Path("generated/tiny/model_torch.py").write_text("mine\n")
        Path("generated/tiny/model_keras.py").unlink()
        facts = resnetgen("build", "--check", "--json").json
        assert facts["current"] is False
        found = {item["name"]: item["state"] for item in facts["directories"][0]["files"]}
        assert found == {"model_torch.py": "differs", "model_keras.py": "missing"}

    def test_directories_can_be_chosen_by_spec(self, resnetgen: Run) -> None:
        resnetgen("build", tiny("a"), tiny("b"), "--no-verify")
        Path("generated/a/spec.yaml").unlink()
        assert resnetgen("build", "--check", "b.yaml").code == 0
        assert resnetgen("build", "--check", "a.yaml").code == 1

    def test_directory_is_compared_with_the_spec_that_is_given(self, resnetgen: Run) -> None:
        """Whatever it was built from."""
        resnetgen("build", tiny(), "--no-verify", "--set", "classes=7")
        Path("same.yaml").write_text(TINY.replace("classes: 10", "classes: 7"))
        Path("other.yaml").write_text(TINY.replace("width: 16", "width: 24"))
        assert resnetgen("build", "--check").code == 0
        assert resnetgen("build", "--check", "same.yaml").code == 0
        assert resnetgen("build", "--check", "tiny.yaml", "--set", "classes=7").code == 0
        ran = resnetgen("build", "--check", "tiny.yaml")
        assert ran.code == 1
        assert "    -classes: 7\n    +classes: 10\n" in ran.out
        ran = resnetgen("build", "--check", "other.yaml", "--set", "classes=7", "--json")
        assert (ran.code, ran.json["current"]) == (1, False)
        assert resnetgen("build", "--check", "same.yaml", "other.yaml").code == 2

    def test_change_to_no_spec_is_bad_input(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        ran = resnetgen("build", "--check", "--set", "classes=7")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: --set changes a SPEC, and none is given\n")

    def test_directory_that_was_never_built_is_not_current(self, resnetgen: Run) -> None:
        ran = resnetgen("build", "--check", tiny())
        assert ran.code == 1
        assert ran.out.startswith("generated/tiny/manifest.json: missing\n")

    def test_source_that_is_gone_is_bad_input(self, resnetgen: Run) -> None:
        resnetgen("build", tiny(), "--no-verify")
        Path("tiny.yaml").unlink()
        ran = resnetgen("build", "--check")
        assert ran.code == 2
        assert ran.err == (
            "generated/tiny/manifest.json: error: records `tiny.yaml` as its source, and that no"
            " longer exists\nhint: build the network again, or remove generated/tiny\n"
        )

    def test_source_that_is_gone_hides_nothing_of_the_others(self, resnetgen: Run) -> None:
        resnetgen("build", tiny("a"), tiny("b"), tiny("c"), "--no-verify", "--no-weights")
        Path("a.yaml").unlink()
        Path("generated/c/model_torch.py").unlink()
        ran = resnetgen("build", "--check")
        assert (ran.code, ran.out) == (
            2, "generated/c/model_torch.py: missing\nnot current, 1 of 2: c\n"
        )  # fmt: skip
        assert ran.err.startswith("generated/a/manifest.json: error: records `a.yaml`")

    def test_source_that_extends_what_is_gone_says_so(self, resnetgen: Run) -> None:
        Path("heir.yaml").write_text("extends: ./tiny.yaml\nname: heir\n")
        tiny()
        resnetgen("build", "heir.yaml", "--no-verify")
        Path("tiny.yaml").unlink()
        ran = resnetgen("build", "--check")
        assert ran.code == 2
        assert "records `heir.yaml` as its source, and that does not compile\n" in ran.err
        assert "heir.yaml:1:10: error: `tiny.yaml` does not exist\n" in ran.err

    def test_nothing_to_check_is_bad_input(self, resnetgen: Run) -> None:
        assert resnetgen("build", "--check").code == 2

    @pytest.mark.parametrize(
        "manifest",
        ["[" * 200_000, "1" * 10_000, "{", "", "null", '{"resnetgen": 1}', "\0", b"\xff"],
        ids=["deep", "huge", "cut", "empty", "null", "number", "zero", "bytes"],
    )
    def test_manifest_that_is_none_differs(self, resnetgen: Run, manifest: str | bytes) -> None:
        resnetgen("build", tiny(), "--no-verify", "--no-weights")
        content = manifest if isinstance(manifest, bytes) else manifest.encode()
        Path("generated/tiny/manifest.json").write_bytes(content)
        ran = resnetgen("build", "--check")
        assert (ran.code, ran.err) == (1, "")
        assert ran.out.startswith("generated/tiny/manifest.json: differs\n")
        assert resnetgen("build", tiny(), "--no-verify").code == 2

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ('"files": {', '"files": [', "it is no JSON from line 7, column 16 on"),
            ('"source":', '"sauce":', "it has no `source`"),
            ('"overrides": []', '"overrides": {}', "it has a value that resnetgen never writes"),
        ],
    )
    def test_damaged_manifest_is_blamed_itself(
        self, resnetgen: Run, old: str, new: str, reason: str
    ) -> None:
        resnetgen("build", tiny(), "--no-verify")
        path = Path("generated/tiny/manifest.json")
        path.write_text(path.read_text().replace(old, new))
        ran = resnetgen("build", tiny(), "--no-verify")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            "generated/tiny/manifest.json: error: cannot be read, and so does not say which files"
            f" are resnetgen's: {reason}\nhint: restore it, or move the directory away; --force"
            " replaces the files of this build\n"
        )
        ran = resnetgen("build", "--check")
        assert ran.out == (
            "generated/tiny/manifest.json: differs\n"
            f"    nothing could be compared: {reason}\n"
            "    restore it, or build the network again with --force\n"
            "not current, 1 of 1: tiny\n"
        )
        (found,) = resnetgen("build", "--check", "--json").json["directories"][0]["files"]
        assert (found["state"], found["reason"]) == ("differs", reason)
        assert resnetgen("build", tiny(), "--no-verify", "--force").code == 0
        assert resnetgen("build", "--check").code == 0

    @pytest.mark.parametrize(
        ("key", "value", "code"),
        [
            ("resnetgen", "\ud800", 0),
            ("spec_sha256", "\ud800", 1),
            ("source", "\ud800", 2),
            ("source", "\0", 2),
            ("source", "x" * 5000, 2),
            ("source", 10**4000, 1),
            ("overrides", ["\ud800"], 2),
            ("overrides", [["classes=7"]], 1),
            ("overrides", {"classes": 7}, 1),
            ("files", ["README.md"], 1),
            ("files", {"README.md": 10**4000}, 1),
            ("files", {"../escape": "0"}, 1),
            ("files", {"": "0"}, 1),
            ("files", {"..": "0"}, 1),
            ("files", {"nul\0": "0"}, 1),
            ("files", {"\ud800": "0"}, 1),
            ("files", {"x" * 5000: "0"}, 1),
            ("model.safetensors", {"sha256": 1, "seed": "x"}, 1),
            ("model.safetensors", {"sha256": "0", "seed": 10**4000}, 1),
        ],
    )
    def test_hostile_manifest_is_no_traceback(
        self, resnetgen: Run, key: str, value: object, code: int
    ) -> None:
        resnetgen("build", tiny(), "--no-verify")
        path = Path("generated/tiny/manifest.json")
        document = {**json.loads(path.read_text()), key: value}
        path.write_text(json.dumps(document, indent=2) + "\n")
        assert resnetgen("build", "--check").code == code
        assert resnetgen("build", tiny(), "--no-verify", "--json").code in (0, 2)
