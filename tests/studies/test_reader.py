from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynaloss.errors import InputError
from dynaloss.studies.loading import load_study
from dynaloss.studies.reading.document import read_document

WriteStudy = Callable[[str], Path]
AssertFacts = Callable[..., None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("5.", 5.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("+3", 3),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("True", True),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("''", ""),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("=", "="),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_follow_the_core_schema(
    write_study: WriteStudy, text: str, expected: object
) -> None:
    value = read_document(write_study(f"key: {text}")).values["key"]
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_a_float(write_study: WriteStudy) -> None:
    assert math.isnan(read_document(write_study("key: .nan")).values["key"])


def test_lines_are_those_of_keys_and_items(write_study: WriteStudy) -> None:
    document = read_document(write_study("a:\n  b: 1\nc:\n  - x\n  - y: 2\n"))
    assert document.lines == {
        (): 1, ("a",): 1, ("a", "b"): 2, ("c",): 3, ("c", 0): 4, ("c", 1): 5, ("c", 1, "y"): 5,
    }  # fmt: skip


def test_a_path_outside_the_file_has_the_line_of_its_closest_key(write_study: WriteStudy) -> None:
    document = read_document(write_study("a: 1\nb:\n  c: 2\n"))
    assert document.line(("b", "missing", 3)) == 2


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ("study.yaml:", "empty")),
        ("# nothing\n", ("study.yaml:", "empty")),
        ("- 1\n", ("study.yaml:1:", "top", "a mapping")),
        ("a: 1\nb: 2\na: 3\n", ("study.yaml:3:", "key 'a'", "twice")),
        ("a:\n  1: x\n", ("study.yaml:2:", "key", "text", "'1'")),
        ("[a]: x\n", ("study.yaml:1:", "key", "text")),
        ("a:\n  <<: {b: 1}\n", ("study.yaml:2:", "merge keys (<<)", "not supported")),
        ("a: &x 1\nb: *x\n", ("study.yaml:2:", "YAML", "aliases (*name)", "not supported")),
        ("a: !!python/name:os.system x\n",
         ("study.yaml:1:", "tag 'tag:yaml.org,2002:python/name:os.system'", "not supported")),
        ("a: !mine {}\n", ("study.yaml:1:", "tag '!mine'", "not supported")),
        ("a: !!int x\n", ("study.yaml:1:", "'x'", "int")),
        ("a: 1\nb: [1, 2\nc: 3\n", ("study.yaml:3:", "YAML", "expected ',' or ']'", "got ':'")),
        ("a: 1\n\tb: 2\n", ("study.yaml:2:", "YAML", "'\\t'", "cannot")),
        ("a: 1\nb: \x07\n", ("study.yaml:2:", "YAML", "special characters", "not allowed")),
        ("a: 1\n---\nb: 2\n", ("study.yaml:2:", "YAML", "another document")),
    ],
)  # fmt: skip
def test_what_is_not_strict_yaml_is_refused_in_one_line(
    write_study: WriteStudy, assert_facts: AssertFacts, text: str, facts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=r"^study.yaml") as caught:
        read_document(write_study(text))
    assert_facts(str(caught.value).splitlines(), [facts])


def test_all_problems_of_the_values_are_reported_at_once(write_study: WriteStudy) -> None:
    with pytest.raises(InputError, match="twice") as caught:
        read_document(write_study("a: 1\na: 2\nb: {c: 1, c: 2}\n"))
    assert len(caught.value.problems) == 2


def test_numbers_of_absurd_length_are_refused(write_study: WriteStudy) -> None:
    with pytest.raises(InputError, match=r"^study.yaml:1: .*'9{40}'.* int$"):
        read_document(write_study("a: " + "9" * 5000))


def test_absurd_nesting_is_refused(write_study: WriteStudy) -> None:
    with pytest.raises(InputError, match=r"^study.yaml: .*nested.* deep"):
        read_document(write_study("a: " + "[" * 5000 + "]" * 5000))


def test_a_file_that_is_not_text_is_refused(write_study: WriteStudy) -> None:
    path = write_study("")
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match=r"^study.yaml: .*UTF-8"):
        read_document(path)


_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
_keys = _texts.filter(lambda key: key != "<<")
_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_plain_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.dictionaries(_keys, _plain_values, min_size=1))
def test_json_is_read_unchanged(write_study: WriteStudy, values: dict[str, Any]) -> None:
    # YAML 1.2 contains JSON, whose writer knows nothing of the reader under test.
    assert read_document(write_study(json.dumps(values))).values == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trial: {model: {name: resnet18}}", "did you mean 'torchvision/resnet18'?"),
        ("trial: {model: {name: resnet9}}", "did you mean 'resnet8'?"),
        ("trial: {lr: 0.1}", "its place is 'trial.meta.lr' or 'trial.optimizer.lr'"),
        ("ablation: {arms: {a: {}}}", "its place is 'arms'"),
        ("trial: {schedule: {epoch: 3}}", "did you mean 'epochs'?"),
    ],
)
def test_a_name_out_of_place_is_told_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"study: a\n{text}\nseeds: [0]\n", "utf-8")
    with pytest.raises(InputError) as raised:
        load_study(path)
    assert any(problem.endswith(told) for problem in raised.value.problems)
