"""Lists of inputs, beside csv-parse as docker/actions-toolkit calls it (`Util.getInputList`)."""

import json
import random
import subprocess
from typing import Any

import pytest
from knarr_action.errors import ActionError
from knarr_action.inputs import Inputs
from knarr_action.lists import read_list

from support.ci_tools import NODE, npm_package

_DOCKER = """
import {readFileSync} from 'fs';
const {parse} = await import(process.argv[1]);
function list([text, atCommas, quote, trim]) {
  const records = parse(trim ? text.trim() : text, {
    columns: false, relaxQuotes: true, relaxColumnCount: true, skipEmptyLines: true,
    quote: quote ? undefined : false,
  });
  const values = records.flatMap(record =>
    !atCommas ? [record.join(',')] : record.length == 1 ? record[0].split(',') : record);
  return values.map(value => trim ? value.trim() : value).filter(value => value.trim());
}
const cases = JSON.parse(readFileSync(0));
const results = cases.map(each => { try { return list(each) } catch (error) { return error.code } });
console.log(JSON.stringify(results));
"""

CASES: list[tuple[str, str, list[str]]] = [
    ("build-args", '"A=one\ntwo"\nB=3', ["A=one\ntwo", "B=3"]),
    ("build-args", '"A=one\n\n  two\n"', ["A=one\n\n  two"]),
    ("build-args", '"A=say ""hi"""', ['A=say "hi"']),
    ("build-args", 'A="x", "y"', ['A="x", "y"']),
    ("build-args", '"A=x" \nB=1', ['"A=x"', "B=1"]),
    ("build-args", 'B=1\n "A=x"', ["B=1", '"A=x"']),
    ("build-args", "A=1,2\r\n\r\n  B=a=b\r\n", ["A=1,2", "B=a=b"]),
    ("build-args", "# a comment\nA=#1 # none", ["A=#1 # none"]),
    ("build-args", "A=\n   \nB", ["A=", "B"]),
    ("labels", '"t=one, two"\nd="a", b', ["t=one, two", 'd="a", b']),
    ("labels", 't=one,"two, three",four', ["t=one,two, three,four"]),
    ("annotations", '"index:a=b\nc"', ["index:a=b\nc"]),
    ("secrets", 'j={"a":"b","c":"d"}', ['j={"a":"b","c":"d"}']),
    ("secrets", '"j={""a"":""b""}\n"', ['j={"a":"b"}\n']),
    ("secrets", "a=b \nc=d", ["a=b ", "c=d"]),
    ("secret-envs", "A=X,B=Y\nC=Z", ["A=X", "B=Y", "C=Z"]),
    ("secret-files", "a=x,y\nb=z", ["a=x,y", "b=z"]),
    ("ssh", "default,other=/a", ["default", "other=/a"]),
    ("tags", "a:1,b:1 , c\nd,", ["a:1", "b:1", "c", "d"]),
    ("tags", '"a,b"', ["a", "b"]),
    ("images", "a@sha256:1\nb", ["a@sha256:1", "b"]),
    ("platforms", 'linux/amd64\n"linux/arm64,linux/arm/v7"', ["linux/amd64", "linux/arm64", "linux/arm/v7"]),
    ("add-hosts", "a:1.2.3.4,b:::1", ["a:1.2.3.4", "b:::1"]),
    ("no-cache-filters", "one, two", ["one", "two"]),
    ("allow", "network.host,security.insecure", ["network.host", "security.insecure"]),
    ("ulimit", "nofile=1:2\nnproc=3", ["nofile=1:2", "nproc=3"]),
    ("outputs", 'type=image,"name=a,b",push=true', ['type=image,"name=a,b",push=true']),
    ("outputs", '"type=oci","dest=a b"', ['"type=oci","dest=a b"']),
    ("cache-from", 'a,b\n"type=local,src=c"', ["a,b", "type=local,src=c"]),
    ("cache-to", "type=registry,ref=a\n\n", ["type=registry,ref=a"]),
    ("build-contexts", "a=b\n# c=d\ne=oci-layout://f", ["a=b", "e=oci-layout://f"]),
    ("attests", '"type=sbom,generator=a"', ["type=sbom,generator=a"]),
    ("extra-args", '--a=b, c\n"--build-arg=A=x\ny"', ["--a=b, c", "--build-arg=A=x\ny"]),
    ("docker-options", "--label=a=b\n--add-host=a:1", ["--label=a=b", "--add-host=a:1"]),
]
"""What csv-parse 7 gave, but for comments, and for the lines of spaces that it keeps."""


@pytest.mark.parametrize(("name", "text", "values"), CASES)
def test_list(name: str, text: str, values: list[str]) -> None:
    assert Inputs({name: text}).list(name) == values


@pytest.mark.parametrize("text", ['"a=s3cret', 'a=b\n"c="s3cret""d""\n"e'])
def test_quote_that_is_never_closed(text: str) -> None:
    with pytest.raises(ActionError, match="the input secrets has a quote that is never closed") as caught:
        Inputs({"secrets": text}).list("secrets")
    assert "s3cret" not in str(caught.value) + caught.value.hint


@pytest.mark.runner
def test_texts_of_all_kinds_are_read_as_docker_reads_them() -> None:
    """But for comments, which csv-parse is not asked for."""
    chosen = random.Random(10)
    cases = [
        (
            "".join(
                chosen.choices(["a", "=", ",", '"', '"', '""', " ", newline, "{"], k=chosen.randint(1, 14))
            ),
            *chosen.choices([True, False], k=3),
        )
        for newline in ("\n", "\r\n")
        for _ in range(5000)
    ]
    parser = npm_package("csv-parse@7.0.2") / "lib/sync.js"
    command = [str(NODE), "--input-type=module", "--eval", _DOCKER, str(parser)]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True)
    assert [_read(case) for case in cases] == json.loads(done.stdout)


def _read(case: tuple[Any, ...]) -> Any:
    text, at_commas, quotes, strips = case
    try:
        given = text.strip() if strips else text
        return list(read_list("a list", given, at_commas=at_commas, quotes=quotes, strips=strips))
    except ActionError:
        return "CSV_QUOTE_NOT_CLOSED"
