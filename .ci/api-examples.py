"""Holds every example of an OpenAPI document against its schema. api-examples.py openapi.json"""

import json
import sys

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.load(open(sys.argv[1]))
registry = Registry().with_resource("urn:api", Resource(document, DRAFT202012))


def absolute(schema):
    """References within the document, as references to it."""
    if isinstance(schema, dict):
        return {k: "urn:api" + v if k == "$ref" else absolute(v) for k, v in schema.items()}
    if isinstance(schema, list):
        return [absolute(s) for s in schema]
    return schema


def contents(operation):
    for content in operation.get("requestBody", {}).get("content", {}).items():
        yield "request", *content
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).items():
            yield status, *content


held = faults = 0
for path, item in document["paths"].items():
    for method, operation in item.items():
        for place, media, content in contents(operation):
            if "example" in content and "schema" in content:
                held += 1
                validator = Draft202012Validator(absolute(content["schema"]), registry=registry)
                for error in validator.iter_errors(content["example"]):
                    faults += 1
                    print(f"{method} {path} {place} {media}: {list(error.absolute_path)}: {error.message[:300]}")
        for parameter in operation.get("parameters", []):
            held += 1
            for error in Draft202012Validator(absolute(parameter["schema"]), registry=registry).iter_errors(parameter["example"]):
                faults += 1
                print(f"{method} {path} {parameter['name']}: {error.message[:300]}")
for name, schema in document["components"]["schemas"].items():
    if "example" in schema:
        held += 1
        validator = Draft202012Validator(absolute({"$ref": f"#/components/schemas/{name}"}), registry=registry)
        for error in validator.iter_errors(schema["example"]):
            faults += 1
            print(f"{name}: {error.message[:300]}")
print(f"{held} examples, {faults} faults")
sys.exit(1 if faults or held < 45 else 0)
