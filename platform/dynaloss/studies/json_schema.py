"""The JSON schema of study files, by which editors complete and check them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from dynaloss.config.registry import groups_of
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.overrides import fields_by_key
from dynaloss.studies.study import AblationStudy, SearchStudy

_BY_KEY = {"conditions", "arms", "space", "on", "off", "one_factor"}
"""Mappings whose names are dotted keys of `trial`; of `arms`, those one level below."""


class _Schema(GenerateJsonSchema):
    """Adds the names that validators accept, which pydantic cannot see."""

    def function_after_schema(
        self, schema: core_schema.AfterValidatorFunctionSchema
    ) -> JsonSchemaValue:
        found = super().function_after_schema(schema)
        names = getattr(schema["function"]["function"], "names", None)
        return found if names is None else found | {"enum": [*names]}


def json_schema() -> dict[str, Any]:
    """The schema of every study file: of a search where it has one, else of an ablation.

    It knows names, types, ranges and descriptions; rules between settings are checked by
    `dynaloss`. Kinds of other packages are accepted by their address, with any settings.
    """
    mode: JsonSchemaMode = "validation"
    studies = (AblationStudy, SearchStudy)
    found, definitions = _Schema().generate_definitions(
        [(study, mode, study.__pydantic_core_schema__) for study in studies]
    )
    for definition in definitions.values():
        _name_keys(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of dynaloss",
        "if": {"anyOf": [{"required": ["space"]}, {"required": ["search"]}]},
        "then": found[SearchStudy, mode],
        "else": found[AblationStudy, mode],
        "$defs": definitions,
    }


def _name_keys(definition: dict[str, Any]) -> None:
    """Lists the dotted keys of `trial` in the mappings that are by them, for completion."""
    for name in _BY_KEY & definition.get("properties", {}).keys():
        mapping = definition["properties"][name]
        if name == "arms":
            mapping = mapping["additionalProperties"]
        of_each = mapping["additionalProperties"]
        of_each = of_each if isinstance(of_each, dict) else {}
        mapping["properties"] = {
            key: of_each | {"description": field.description or ""}
            for key, field in fields_by_key(TrialConfig)
            if not groups_of(field)
        }
