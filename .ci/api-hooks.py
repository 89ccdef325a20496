"""What schemathesis does not know by itself: media types of rows, and names that this node really has."""

import json
import os
import pathlib

import schemathesis
from hypothesis import strategies as st

SAMPLE = pathlib.Path(__file__).parent.parent / "deploy/samples/gulou.ndjson"
ROWS = [line for line in SAMPLE.read_text(encoding="utf-8").splitlines() if line]
ANSWER = json.load(open(os.environ["TALLY_API_ANSWER"]))["answer"]


def mixed(lines):
    """Good rows, broken ones, and any text, in any order."""
    return st.lists(st.one_of(st.sampled_from(lines), st.text(max_size=200)), max_size=6).map("\n".join)


def encoded(text):
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


schemathesis.openapi.media_type("application/x-ndjson", mixed(ROWS).map(encoded))
schemathesis.openapi.media_type("text/csv", mixed([",".join(json.loads(r)) for r in ROWS]).map(encoded))
schemathesis.openapi.media_type(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", st.binary(max_size=400)
)


@schemathesis.serializer("application/x-ndjson", "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
def as_it_is(ctx, value):
    if isinstance(value, bytes):
        return value
    return encoded(value) if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def map_query(ctx, query):
    """Now and then what is really there: any answer, division and record would nearly always be one that is not."""
    if query and ctx.operation.path == "/v1/receipts" and len(str(query)) % 3 == 0:
        return {"answer": ANSWER}
    return query


@schemathesis.hook
def map_path_parameters(ctx, parameters):
    if parameters and "name" in parameters and len(str(parameters)) % 3 == 0:
        return {**parameters, "name": ANSWER + ["", ".csv", ".xlsx"][len(str(parameters)) % 9 // 3]}
    return parameters
