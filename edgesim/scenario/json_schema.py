"""The JSON Schema of scenario files, for editors: draft 7, with the parameters of the installed learners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import PydanticUndefined, core_schema

from edgesim.scenario.learners import LearnerModels
from edgesim.scenario.scenario import Scenario

DRAFT = "http://json-schema.org/draft-07/schema#"  # what the YAML language server knows
_REF = "#/definitions/{model}"
SHARED = "x-definition"
"""A schema with this key is written once, under the name that is its value."""
_CODE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class _Generator(GenerateJsonSchema):
    """Writes defaults the way a scenario file says them: ``10 min``, not 600.0."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Say no: a title that repeats the key says nothing."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, field in model.model_fields.items():
            described = result.get("properties", {}).get(field.alias or name)
            default = field.get_default(call_default_factory=True)
            if described is None or default is None or default is PydanticUndefined:
                continue
            written = model.model_construct(**{name: default}).model_dump(
                mode="json", include={name}, exclude_none=True, context={"with_units": True}
            )
            described["default"] = written[name]
        return result


def json_schema(learner_params: LearnerModels) -> dict[str, Any]:
    """Return the JSON Schema of a scenario file.

    Parameters
    ----------
    learner_params
        The learners that exist, as :func:`edgesim.scenario.load` takes them. All of them are loaded.
    """
    learners = {name: model() for name, model in sorted(learner_params.items())}
    models: list[type[BaseModel]] = [Scenario, *dict.fromkeys(learners.values())]
    references, generated = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF, schema_generator=_Generator
    )
    definitions: dict[str, Any] = generated["$defs"]
    entries = {
        name: _entry(name, definitions[_name(references[model, "validation"])]) for name, model in learners.items()
    }
    for model in set(learners.values()):
        del definitions[_name(references[model, "validation"])]
    scenario = definitions.pop(_name(references[Scenario, "validation"]))
    described = scenario["properties"]["learners"].get("description", "")
    scenario["properties"]["learners"] = _learners(described, entries)
    definitions |= {f"learner {name}": entry for name, entry in entries.items()}
    shared: dict[str, Any] = {}
    scenario, definitions = _hoisted(scenario, shared), _hoisted(definitions, shared)
    return {
        "$schema": DRAFT,
        **_draft_7(scenario),
        "title": "edgesim scenario",
        "definitions": _draft_7({**definitions, **shared}),
    }


def params_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of one learner's parameters, with its definitions under ``$defs``."""
    return model.model_json_schema(schema_generator=_Generator)


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix(_REF.format(model=""))


def _entry(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of one learner, with the key ``learner`` that says whose they are."""
    key = {"const": name, "description": "Which learner this is; by default the one called like its label."}
    return {**parameters, "title": name, "properties": {"learner": key, **parameters.get("properties", {})}}


def _learners(description: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    references = {name: {"$ref": _REF.format(model=f"learner {name}")} for name in entries}
    own = {"type": "object", "properties": {"learner": {"type": "string", "pattern": _CODE}}}
    chosen = [*references.values(), {**own, "description": "A learner of your own: package.module:Class."}]
    return {
        "description": description,
        "type": "object",
        "minProperties": 1,
        "properties": {name: {"anyOf": [reference, {"type": "null"}]} for name, reference in references.items()},
        "additionalProperties": {"type": "object", "required": ["learner"], "anyOf": chosen},
    }


def _hoisted(schema: Any, shared: dict[str, Any]) -> Any:
    """Replace what calls itself ``SHARED`` by a reference, and put it into ``shared``, once."""
    if isinstance(schema, list):
        return [_hoisted(item, shared) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if SHARED not in schema:
        return {key: _hoisted(value, shared) for key, value in schema.items()}
    name = schema[SHARED]
    own = {key: schema[key] for key in ("description", "default", "examples") if key in schema}
    if name not in shared:
        shared[name] = {key: value for key, value in schema.items() if key not in (SHARED, *own)}
    return {"$ref": _REF.format(model=name), **own}


def _draft_7(schema: Any) -> Any:
    """Put keys beside a ``$ref``, which draft 7 ignores, around it."""
    if isinstance(schema, list):
        return [_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _draft_7(value) for key, value in schema.items()}
    if "$ref" in inner and len(inner) > 1:
        return {"allOf": [{"$ref": inner.pop("$ref")}], **inner}
    return inner
