"""Kinds of other packages: found, validated, listed and identified as our own are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, NOISES, SAMPLERS, SOURCES
from dynaloss.config.outside import folders_looked_in
from dynaloss.config.registry import Registry
from dynaloss.errors import InputError
from dynaloss.studies import AblationStudy, load_search, load_study, make_plan, trial_key
from dynaloss.studies.components import COMPONENTS
from dynaloss.studies.identity import effective_config, flatten, origins
from dynaloss.studies.overrides import key_problem
from dynaloss.studies.reading.problems import problems_of
from dynaloss.studies.search.groups import make_search_plan, search_trial

WriteModules = Callable[..., Path]

LOSS = """
    from pydantic import Field
    from dynaloss.config import LossConfig
    from dynaloss.config.families import LossKind
    from dynaloss.config.settings import Real
    from dynaloss.learning.losses import TrainingLoss

    class HotConfig(LossConfig):
        temperature: Real = Field(default=2.0, gt=0, description="Above 0.")

    class Hot(TrainingLoss[HotConfig]):
        pass

    HOT = LossKind(name="hot", description="a loss", settings=HotConfig, build=Hot)
    """
OTHERS = """
    from typing import Literal
    from dynaloss.config import DataConfig, LossConfig, ModelConfig, NoiseConfig, SamplerConfig
    from dynaloss.config.families import LossKind, ModelKind, NoiseKind, SamplerKind, SourceKind
    from dynaloss.studies.components import ComponentKind

    def nothing(*args, **options): raise NotImplementedError

    class DrawConfig(SamplerConfig):
        share: float = 0.5
    class ShiftConfig(NoiseConfig):
        by: int = 1
    class WideConfig(ModelConfig):
        width: int = 8
    class BlobsConfig(DataConfig):
        count: int = 60
    class PinnedConfig(LossConfig):
        name: Literal["pinned"] = "pinned"
    class NeedyConfig(LossConfig):
        strength: float

    about = {"description": "of another package"}
    DRAW = SamplerKind(name="draw", settings=DrawConfig, draw=nothing, uses=("share",), **about)
    rate = ("rate", "by")
    SHIFT = NoiseKind(name="shift", settings=ShiftConfig, observe=nothing, uses=rate, **about)
    WIDE = ModelKind(name="wide", settings=WideConfig, build=nothing, **about)
    PLAIN = ModelKind(name="plain", build=nothing, **about)
    BLOBS = SourceKind(name="blobs", settings=BlobsConfig, load=nothing, digest=nothing, **about)
    PINNED = LossKind(name="pinned", settings=PinnedConfig, build=nothing, version="3", **about)
    NEEDY = LossKind(name="needy", settings=NeedyConfig, build=nothing, **about)
    FOREIGN = LossKind(name="foreign", settings=NoiseConfig, build=nothing, **about)
    WITHOUT = LossKind(name="without", settings=3, build=nothing, **about)
    FOCAL = LossKind(name="focal", settings=PinnedConfig, build=nothing, **about)
    SPACED = LossKind(name="a b", settings=PinnedConfig, build=nothing, **about)
    TWIN = LossKind(name="pinned", settings=PinnedConfig, build=print, **about)
    SMOOTH = ComponentKind(
        name="smooth", on={"loss.label_smoothing": 0.1}, off={"loss.label_smoothing": 0.0}, **about
    )
    ODD = ComponentKind(name="odd", on={"loss.label_smooting": 0.1}, off={}, **about)
    """
_FAMILIES: dict[str, tuple[str, str, Registry, str]] = {
    "loss": ("loss.name", "own_losses:HOT", LOSSES, "temperature"),
    "sampler": ("sampler.kind", "own_others:DRAW", SAMPLERS, "share"),
    "noise": ("data.noise.kind", "own_others:SHIFT", NOISES, "by"),
    "model": ("model.name", "own_others:WIDE", MODELS, "width"),
    "source": ("data.source", "own_others:BLOBS", SOURCES, "count"),
}
every_family = pytest.mark.parametrize("family", _FAMILIES)


@pytest.fixture(autouse=True)
def _modules(write_modules: WriteModules) -> None:
    write_modules({"own_losses.py": LOSS, "own_others.py": OTHERS})


def _nested(values: dict[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    for key, value in values.items():
        *groups, leaf = key.split(".")
        group = nested
        for name in groups:
            group = group.setdefault(name, {})  # type: ignore[assignment]
        group[leaf] = value
    return nested


def _trial(**values: object) -> TrialConfig:
    return TrialConfig.model_validate(
        _nested({k.replace("__", "."): v for k, v in values.items()})
    )


def _key(values: dict[str, object]) -> str:
    return trial_key(TrialConfig.model_validate(_nested(values)), 0, 0, "data")


def _problems(values: dict[str, object]) -> list[str]:
    return [str(problem) for problem in problems_of(TrialConfig, _nested(values))]


@every_family
def test_a_kind_at_an_address_is_validated_by_its_own_settings(family: str) -> None:
    key, address, _, setting = _FAMILIES[family]
    own = f"{key.rpartition('.')[0]}.{setting}"
    config = TrialConfig.model_validate(_nested({key: address, own: 7}))
    again = TrialConfig.model_validate(config.model_dump())
    assert again == config
    assert flatten(_rated(config))[own] == 7
    (problem,) = _problems({key: address, own: "seven"})
    assert problem.startswith(f"[{own}] must be a")
    (problem,) = _problems({key: address, f"{own}s": 7})
    assert problem.endswith(f"did you mean '{setting}'?")


def test_a_kind_without_settings_of_its_own_has_those_of_the_family() -> None:
    assert not _problems({"model.name": "own_others:PLAIN", "model.pretrained_path": "w.pt"})


def _rated(config: TrialConfig) -> TrialConfig:
    """The trial with noise, so that the settings of the noise have an effect."""
    return TrialConfig.model_validate(
        config.model_dump() | {"data": _with_rate(config.data.model_dump())}
    )


def _with_rate(data: dict[str, object]) -> dict[str, object]:
    return data | {"noise": {**data["noise"], "rate": 0.1}}  # type: ignore[dict-item]


@every_family
def test_the_key_has_the_own_name_and_the_origin(family: str) -> None:
    key, address, registry, _ = _FAMILIES[family]
    values = {"data.noise.rate": 0.1, key: address}
    config = TrialConfig.model_validate(_nested(values))
    name, origin = registry[address].name, registry.origin(address)
    assert origin.startswith(f"{address} ")
    assert origins(config) == {key: origin}
    assert flatten(config)[key] == name
    assert flatten(config)[f"{key.rpartition('.')[0]}.from"] == origin
    assert _key(values) != _key({"data.noise.rate": 0.1})


def test_an_entry_point_and_its_address_make_one_trial(write_modules: WriteModules) -> None:
    entries = {"hot": "own_losses:HOT"}
    write_modules({}, {"dynaloss.losses": entries})
    assert "own_losses" not in sys.modules
    assert LOSSES.installed() == entries
    assert _key({"loss.name": "hot"}) == _key({"loss.name": "own_losses:HOT"})


def test_an_edit_of_the_source_makes_new_trials(write_modules: WriteModules) -> None:
    files = {"own_package/__init__.py": "", "own_package/deep/losses.py": LOSS}
    write_modules(files | {"own_package/deep/__init__.py": "", "own_package/helper.py": "x = 1"})
    before = LOSSES.origin("own_losses:HOT")
    assert not before
    address = "own_package.deep.losses:HOT"
    first = _key({"loss.name": address})
    _forget("own_package")
    assert _key({"loss.name": address}) == first
    write_modules({"own_package/helper.py": "x = 2"})
    _forget("own_package")
    assert _key({"loss.name": address}) != first


def test_a_version_replaces_the_digest_of_the_source(write_modules: WriteModules) -> None:
    first = _key({"loss.name": "own_others:PINNED"})
    write_modules({"own_others.py": dedent(OTHERS) + "x = 1\n"})
    _forget("own_others")
    assert _key({"loss.name": "own_others:PINNED"}) == first
    assert LOSSES.origin("own_others:PINNED") == "own_others:PINNED 3"
    write_modules({"own_others.py": OTHERS.replace('version="3"', 'version="4"')})
    _forget("own_others")
    assert _key({"loss.name": "own_others:PINNED"}) != first


def _forget(module: str) -> None:
    """What a new process does not know."""
    from dynaloss.config.outside import source_digest

    source_digest.cache_clear()
    LOSSES._outside.clear()
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        del sys.modules[name]


def test_parts_without_an_effect_leave_the_key() -> None:
    fixed = {"loss.name": "cross_entropy"}
    assert _key({**fixed, "sampler.kind": "own_others:DRAW"}) == _key(fixed)
    assert _key({**fixed, "data.noise.kind": "own_others:SHIFT"}) == _key(fixed)


def test_the_noise_has_its_own_name_in_labels() -> None:
    config = _trial(data__noise__kind="own_others:SHIFT", data__noise__rate=0.3)
    assert config.data.noise.label == "shift 0.3"


def test_own_settings_of_a_source_tell_sources_apart() -> None:
    one, other = (_trial(data__source="own_others:BLOBS", data__count=n) for n in (60, 70))
    noisy = _trial(data__source="own_others:BLOBS", data__noise__rate=0.2)
    assert one.data.source_key == noisy.data.source_key != other.data.source_key


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lost_module:HOT", "cannot be imported: ModuleNotFoundError: No module named "
         "'lost_module'; install it, or put it beside the study file or into the working "
         "directory"),
        ("own_losses:COLD", "does not exist: 'own_losses' is "),
        ("own_losses:", "must be a name or `package.module:object`, but got 'own_losses:'"),
        ("__main__:HOT", "must be in a module that other processes can import"),
        ("own_losses:Hot", "must be a `dynaloss.config.families.LossKind`, but is the class "
         "`own_losses.Hot`"),
        ("own_others:WIDE", "must be a `dynaloss.config.families.LossKind`, but is a "
         "`dynaloss.config.families.ModelKind`"),
        ("own_others:FOREIGN", "must have a subclass of `dynaloss.config.trial.LossConfig` as "),
        ("own_others:WITHOUT", "must have a subclass of `dynaloss.config.settings.Settings` as "),
        ("own_others:NEEDY", "must have a default for every setting, but has none for `strength`"),
        ("own_others:FOCAL", "is named 'focal', as a built-in loss is: rename it"),
        ("own_others:SPACED", "has a name that must be letters, digits and _ . - only"),
    ],
)  # fmt: skip
def test_what_is_no_loss_is_refused_with_the_reason(name: str, text: str) -> None:
    (problem,) = _problems({"loss.name": name})
    assert problem.startswith("[loss.name] ")
    assert text in problem


def test_two_kinds_of_one_name_are_refused() -> None:
    LOSSES.find("own_others:PINNED")
    (problem,) = _problems({"loss.name": "own_others:TWIN"})
    assert "'own_others:TWIN' is named 'pinned', as another loss is" in problem


@pytest.mark.parametrize("error", ["1 / 0", "raise SystemExit(2)", "raise ValueError('a\\nb')"])
def test_a_module_that_fails_is_one_problem(error: str, write_modules: WriteModules) -> None:
    write_modules({"own_broken.py": error})
    (problem,) = _problems({"loss.name": "own_broken:HOT"})
    assert "'own_broken:HOT' cannot be imported: " in problem
    assert "\n" not in problem


def test_settings_shared_by_all_kinds_are_checked_beside_an_unknown_kind() -> None:
    found = _problems({"data.source": "lost:X", "data.n_max": 0, "data.count": 3})
    assert ["cannot be imported" in text for text in found] == [True, False]
    assert found[1].startswith("[data.n_max] must be at least 1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("focal", "'own_losses:HOT' is named 'focal', as a built-in loss is"),
        ("warm", "is an entry point of 'own_losses:HOT', which is named 'hot'"),
        ("gone", "'own_losses:GONE' does not exist"),
        ("hott", "did you mean 'hot'?"),
    ],
)
def test_entry_points_that_cannot_be_used_say_why(
    name: str, text: str, write_modules: WriteModules
) -> None:
    hot = "own_losses:HOT"
    entries = {"hot": hot, "focal": hot, "warm": hot, "gone": "own_losses:GONE"}
    write_modules({}, {"dynaloss.losses": entries})
    (problem,) = _problems({"loss.name": name})
    assert text in problem
    assert not _problems({"loss.name": "gce"})
    assert not _problems({"loss.name": "hot", "loss.temperature": 3.0})


# -- studies -----------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a study file in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = "", loss: str = "{}", folder: str = ".") -> Path:
        Path(folder).mkdir(exist_ok=True)
        target = Path(folder) / "study.yaml"
        head = f"study: own\ntrial:\n  data: {{source: digits}}\n  loss: {loss}\nseeds: [0]\n"
        target.write_text(head + dedent(text))
        return target

    return write


def test_arms_of_baselines_and_levels_have_the_own_names(study: Callable[..., Path]) -> None:
    loaded = load_study(
        study("""
        ablation:
          baselines: ["own_losses:HOT", gce]
          one_factor: {loss.name: ["own_others:PINNED", cross_entropy]}
        arms:
          warm: {loss.name: "own_losses:HOT", loss.temperature: 1.5}
        """)
    )
    plan = make_plan(loaded, {"digits": "d"})
    arms = {trial.arm: trial.config.loss for trial in plan.trials}
    assert [*arms] == ["name-pinned", "name-cross_entropy", "hot", "gce", "warm"]
    assert arms["hot"].name == "own_losses:HOT"
    assert (arms["hot"].temperature, arms["warm"].temperature) == (2.0, 1.5)


def test_a_component_at_an_address_makes_arms(study: Callable[..., Path]) -> None:
    text = """
        components:
          narrow: {on: {optimizer.lr: 0.05}, off: {optimizer.lr: 0.1}}
        ablation: {components: [narrow, "own_others:SMOOTH"]}
        """
    loaded = load_study(study(text, loss="{name: cross_entropy}"))
    assert [*loaded.arm_overrides()] == ["none", "narrow-only", "smooth-only", "full"]
    plan = make_plan(loaded, {"digits": "d"})
    assert plan.components == ("narrow", "smooth")
    assert COMPONENTS["own_others:SMOOTH"].description == "of another package"


@pytest.mark.parametrize(
    ("component", "text"),
    [
        ("own_others:ODD", "has a component 'odd' whose key 'loss.label_smooting' is not a "),
        ("own_others:LOST", "'own_others:LOST' does not exist"),
        ("own_losses:HOT", "must be a `dynaloss.studies.components.ComponentKind`"),
    ],
)
def test_a_component_that_cannot_be_used_is_a_problem_at_its_line(
    component: str, text: str, study: Callable[..., Path]
) -> None:
    path = study(f'ablation: {{components: ["{component}"]}}\n')
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert any(
        line.startswith("study.yaml:6: [ablation.components]") and text in line
        for line in str(caught.value).splitlines()
    )


def test_a_problem_of_a_kind_is_at_its_line(study: Callable[..., Path]) -> None:
    path = study('arms:\n  a: {loss.name: "lost_module:HOT"}\n')
    with pytest.raises(InputError, match=r"^study.yaml:7: \[arms.a.loss.name\] 'lost_module:HOT'"):
        load_study(path)


@pytest.mark.parametrize("place", ["beside the study", "working directory"])
def test_modules_are_found_beside_the_study_and_in_the_working_directory(
    place: str, study: Callable[..., Path]
) -> None:
    path = study(loss='{name: "near_losses:HOT", temperature: 3}', folder="below")
    folder = path.parent if place == "beside the study" else Path()
    (folder / "near_losses.py").write_text(dedent(LOSS))
    assert load_study(path).trial.loss.temperature == 3  # type: ignore[attr-defined]
    assert folders_looked_in() == (str(path.parent.absolute()), str(Path.cwd()))


def test_two_modules_of_one_name_are_refused(study: Callable[..., Path]) -> None:
    paths = [study(loss='{name: "twin_losses:HOT"}', folder=folder) for folder in ("a", "b")]
    for path in paths:
        (path.parent / "twin_losses.py").write_text(dedent(LOSS))
    load_study(paths[0])
    load_study(paths[0])
    with pytest.raises(InputError, match=r"b/twin_losses.py' cannot .* is '.*a/twin_losses.py'"):
        load_study(paths[1])


def test_a_module_on_the_path_comes_before_one_beside_the_study(
    study: Callable[..., Path],
) -> None:
    path = study(loss='{name: "own_losses:HOT"}')
    (path.parent / "own_losses.py").write_text("raise ValueError")
    assert load_study(path) == load_study(path)


def test_a_study_without_addresses_leaves_the_path_alone(study: Callable[..., Path]) -> None:
    before = [*sys.path]
    load_study(study(loss="{name: gce}"))
    assert sys.path == before
    load_study(study(loss='{name: "own_losses:HOT"}'))
    assert sys.path == [*before, str(Path.cwd())]


def test_own_settings_can_be_searched(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(
        "study: own\n"
        "trial:\n"
        "  data: {source: digits, validation: {fraction: 0.2}}\n"
        "  loss: {name: 'own_losses:HOT'}\n"
        "space: {loss.temperature: {uniform: [1, 4]}}\n"
        "search: {metric: val/accuracy, trials: 2}\n"
    )
    plan = make_search_plan(load_search(path), {"digits": "d"})
    assert [group.parameters for group in plan.groups] == [("loss.temperature",)]
    trial = search_trial(plan.study, plan.groups[0], 0, {"loss.temperature": 1.5})
    assert trial.config.loss.temperature == 1.5  # type: ignore[attr-defined]


def test_a_study_of_plain_values_knows_the_keys_of_the_kinds_that_it_names() -> None:
    assert key_problem("loss.temperature")
    values = {
        "study": "own",
        "trial": {"data": {"source": "digits"}},
        "arms": {"hot": {"loss.name": "own_losses:HOT", "loss.temperature": 5.0}},
        "seeds": (0,),
    }
    study = AblationStudy.model_validate(values)
    assert key_problem("loss.temperature") is None
    assert study.arm_overrides()["hot"]["loss.temperature"] == 5.0


def test_effective_settings_name_the_origin_beside_the_kind() -> None:
    loss = effective_config(_trial(loss__name="own_losses:HOT"))["loss"]
    assert loss == {"name": "hot", "temperature": 2.0, "from": LOSSES.origin("own_losses:HOT")}
