"""`diff`: the facts in which two specs differ, and what each of them does."""

import re
from pathlib import Path
from typing import Any

import pytest
from commands import Ran, Run

from resnetgen.ir.summary import total
from resnetgen.lower import lower
from resnetgen.spec.facts import changed, differing, documents
from resnetgen.spec.load import load, meaning

V1_5, V1 = 4_089_184_256, 3_857_973_248
"""MACs of ResNet-50 with the stride on the 3x3, and on the first 1x1."""


def rows(ran: Ran) -> dict[str, list[str]]:
    """The words of each line behind its first."""
    lines = [line.split() for line in ran.out.splitlines() if line.strip()]
    return {first: rest for first, *rest in lines}


def facts(ran: Ran) -> dict[str, Any]:
    """Each fact's record by its name."""
    return {fact["fact"]: fact for fact in ran.json["facts"]}


def test_one_screen_explains_why_resnet50_has_two_counts(resnetgen: Run) -> None:
    ran = resnetgen("diff", "resnet50", "resnet50_paper")
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.out.splitlines()) < 24
    assert rows(ran)["stride_on"] == ["3x3", "1x1", "0", f"{V1 - V1_5:,}"]
    assert rows(ran)["resnet50"][:2] == ["25,557,032", f"{V1_5:,}"]
    assert rows(ran)["resnet50_paper"][:2] == ["25,557,032", f"{V1:,}"]
    assert rows(ran)["together"] == ["0", f"{V1 - V1_5:,}"]


def test_fact_that_changes_numbers_alone_is_told_from_one_that_changes_nothing(
    resnetgen: Run,
) -> None:
    table = rows(resnetgen("diff", "resnet50", "resnet50_paper"))
    assert table["conv_init"][2:] == ["0", "0", "numbers", "alone"]
    assert table["dialect"][2:] == ["0", "0", "nothing"]
    Path("fine.yaml").write_text("extends: resnet50\nname: fine\nepsilon: 0.001\nmomentum: 0.5\n")
    found = facts(resnetgen("diff", "resnet50", "fine.yaml", "--json"))
    for name in ("epsilon", "momentum"):
        assert found[name]["effect"]["same_counts"]
        assert not found[name]["effect"]["same_network"]


def test_padding_is_a_fact_beside_the_dialect_that_decides_it(resnetgen: Run) -> None:
    found = facts(resnetgen("diff", "resnet18", "flax_resnet18", "--json"))
    assert found["dialect"]["effect"]["same_network"]
    assert (found["conv_padding"]["a"], found["conv_padding"]["b"]) == ("symmetric", "same")
    assert found["conv_padding"]["effect"]["same_counts"]
    assert not found["conv_padding"]["effect"]["same_network"]


def test_stage_is_named_as_the_paper_names_it(resnetgen: Run) -> None:
    ran = resnetgen("diff", "resnet50", "resnet101")
    assert "stages.2.repeats (conv4_x)  6" in ran.out
    repeats = facts(resnetgen("diff", "resnet50", "resnet101", "--json"))["stages.2.repeats"]
    assert (repeats["stage"], repeats["a"], repeats["b"]) == ("conv4_x", 6, 23)
    assert repeats["effect"]["params"] == 44_549_160 - 25_557_032


def test_stage_that_one_spec_lacks_is_one_fact(resnetgen: Run) -> None:
    found = facts(resnetgen("diff", "resnet20", "resnet18", "--json"))
    assert (found["stages.3"]["a"], found["stages.3"]["b"]["name"]) == (None, "conv5_x")
    assert found["stages.3"]["effect"]["features_shape"] == [512, 4, 4]
    assert facts(resnetgen("diff", "resnet18", "resnet20", "--json"))["stages.3"]["b"] is None


def test_block_of_one_stage_is_compared_with_that_of_a_network(resnetgen: Run) -> None:
    found = facts(resnetgen("diff", "resnet18", "test_resnet", "--json"))
    assert (found["stages.2.block"]["a"], found["stages.2.block"]["b"]) == ("basic", "bottleneck")
    assert "stages.1.block" not in found
    assert "block" not in found


def test_output_shape_is_shown_where_it_changes(resnetgen: Run) -> None:
    Path("ten.yaml").write_text("extends: resnet50\nname: ten\nclasses: 10\n")
    assert rows(resnetgen("diff", "resnet50", "ten.yaml"))["classes"] == (
        ["1000", "10", "-2,028,510", "-2,027,520", "2048x7x7", "features,", "10", "outputs"]
    )


def test_change_that_cannot_be_alone_says_why(resnetgen: Run) -> None:
    ran = resnetgen("diff", "resnet20", "resnet50")
    assert rows(ran)["stem.width"] == ["16", "64", "not", "valid", "alone"]
    assert "  stem.width: `zero_pad` cannot shrink 64 channels to 16\n" in ran.out
    found = resnetgen("diff", "resnet20", "resnet50", "--json")
    assert facts(found)["stem.width"]["effect"] is None
    assert "zero_pad" in facts(found)["stem.width"]["invalid"]
    assert not found.json["adds_up"]


def test_effects_that_do_not_add_up_are_said_to(resnetgen: Run) -> None:
    said = "The effects do not add up"
    assert said in resnetgen("diff", "resnet50", "resnet50d").out
    assert said not in resnetgen("diff", "resnet50", "resnet101").out


def test_same_spec_twice_is_one_network(resnetgen: Run) -> None:
    said = "resnet50 and resnet50 are the same network, and their specs say the same.\n"
    assert resnetgen("diff", "resnet50", "resnet50").out == said
    ran = resnetgen("diff", "resnet50", "resnet50", "--json")
    assert (ran.code, ran.json["same_network"], ran.json["facts"]) == (0, True, [])


def test_specs_that_differ_in_labels_are_one_network(resnetgen: Run) -> None:
    Path("mine.yaml").write_text("extends: resnet50\nname: mine\nlicense: MIT\n")
    ran = resnetgen("diff", "resnet50", "mine.yaml")
    assert "They are the same network: nothing that differs is computed" in ran.out
    assert rows(ran)["license"] == ["not", "stated", "MIT", "0", "0", "nothing"]


def test_overrides_apply_to_both(resnetgen: Run) -> None:
    arguments = ("diff", "resnet50", "resnet50_paper", "--set", "classes=10")
    found = resnetgen(*arguments, "--json").json
    assert "classes" not in {fact["fact"] for fact in found["facts"]}
    assert found["a"]["output_shape"] == found["b"]["output_shape"] == [10]


def test_json_has_the_facts_of_both_networks(resnetgen: Run) -> None:
    found = resnetgen("diff", "resnet50", "resnet50_paper", "--json").json
    assert list(found) == ["a", "b", "same_network", "facts", "together", "adds_up"]
    assert (found["a"]["macs"], found["b"]["macs"]) == (V1_5, V1)
    assert found["a"]["params"]["trainable"] == found["b"]["params"]["trainable"] == 25_557_032
    assert found["a"]["features_shape"] == [2048, 7, 7]
    assert found["together"] == {
        "params": 0,
        "macs": V1 - V1_5,
        "features_shape": [2048, 7, 7],
        "output_shape": [1000],
        "same_counts": False,
        "same_network": False,
    }
    assert found["adds_up"]


@pytest.mark.parametrize("columns", [1, 40, 60, 80, 100])
@pytest.mark.parametrize("specs", ["resnet20 plain34", "resnet50 resnet50_paper"])
def test_narrow_output_has_every_word_and_stays_within(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, specs: str, columns: int
) -> None:
    def words(out: str) -> set[str]:
        return set(re.split(r"[\s,:─]+", out)) - {"->", "fact", "params", "MACs", "effect"}

    wide = resnetgen("diff", *specs.split()).out
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = resnetgen("diff", *specs.split()).out
    assert words(narrow) == words(wide)
    if columns > 1:
        assert max(map(len, narrow.splitlines())) <= columns


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("resnet50 resnet5", "there is no bundled spec `resnet5`"),
        ("resnet50 missing.yaml", "missing.yaml: error: the file does not exist"),
        ("resnet50 resnet18 --set clases=10", "unknown key `clases`"),
    ],
)
def test_bad_input_is_reported(resnetgen: Run, arguments: str, said: str) -> None:
    ran = resnetgen("diff", *arguments.split())
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    ran = resnetgen("diff", *arguments.split(), "--json")
    assert (ran.code, ran.err) == (2, "")
    assert ran.json["diagnostics"][0]["message"] in said


def test_narrow_output_is_a_line_for_each_change(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert (
        "\n".join(
            (
                "stride_on: 3x3 -> 1x1",
                "    0 params, -231,211,008 MACs",
                "conv_init: he_fan_out -> he_fan_in",
                "    0 params, 0 MACs, numbers alone",
            )
        )
        in resnetgen("diff", "resnet50", "resnet50_paper").out
    )


def test_one_spec_is_not_enough(resnetgen: Run) -> None:
    assert resnetgen("diff", "resnet50").code == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [("resnet20", "resnet50"), ("resnet50", "test_resnet"), ("senet154", "resnet29_triple")],
)
def test_all_changes_together_make_one_spec_the_other(before: str, after: str) -> None:
    """So no fact is left out, and none is more than it says."""
    first, second = load(before).spec, load(after).spec
    document, target = documents(first, second)
    for fact in reversed(list(differing(document, target))):
        document = changed(document, fact.path, fact.after)
    assert meaning(document) == second
    assert total(lower(meaning(document))) == total(lower(second))
