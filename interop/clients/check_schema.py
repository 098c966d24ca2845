"""Holds a JSON document to its JSON Schema; says every violation and ends with 1 if there is one."""

import json
import sys

import jsonschema

with open(sys.argv[1]) as schema, open(sys.argv[2]) as document:
    validator = jsonschema.Draft202012Validator(json.load(schema))
    violations = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.load(document))]
print("\n".join(violations[:10]))
sys.exit(1 if violations else 0)
