"""Renders a chart by Helm, once for each set of values, and holds every object against the schemas of
Kubernetes. Reads JSON from stdin: {"chart": path, "folder": for the package, "sets": {name: YAML}}.
Writes JSON: "lint" of the chart, "sets" with "lint", "error" or "objects" and "problems" of each,
"packed" with the size of each file of the package, "rules" and "plain" with the rules and the
plain manifest of this repository."""

import json
import pathlib
import sys
import tarfile

import kubernetes_validate
import yaml
from helm_python import chart as helm

# The oldest that Chart.yaml accepts, one in between, and the newest that is known.
VERSIONS = ["1.25", "1.31", kubernetes_validate.latest_version()]
# Kinds of operators, of which Kubernetes has no schema.
FOREIGN = "monitoring.coreos.com/"


def problems(document):
    """What the schemas say against an object."""
    if document["apiVersion"].startswith(FOREIGN):
        return []
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            found.append(f"{version}: {document['kind']}: {str(error).splitlines()[0]}")
    return found


def objects(manifests):
    """The objects of rendered manifests."""
    for name, text in sorted(manifests.items()):
        if name.endswith(".yaml"):
            yield from (document for document in yaml.safe_load_all(text) if document)


def rendered(chart, path, text):
    values = yaml.safe_load(text) or {}
    lint = helm.lint(path, values, strict=True)["errors"]
    try:
        manifests = chart.render(values, name="age", namespace="monitoring")
    except Exception as error:
        return {"error": str(error), "lint": lint}
    found = list(objects(manifests))
    return {
        "lint": lint,
        "notes": "".join(text for name, text in manifests.items() if name.endswith("NOTES.txt")),
        "objects": found,
        "problems": [problem for one in found for problem in problems(one)],
    }


def main():
    asked = json.load(sys.stdin)
    path = asked["chart"]
    package = helm.package(path, destination=asked["folder"])
    with tarfile.open(package) as archive:
        packed = {file.name: file.size for file in archive.getmembers() if file.isfile()}
    with helm.Chart.load(path) as chart:
        sets = {name: rendered(chart, path, text) for name, text in asked["sets"].items()}
    lint = helm.lint(path, strict=True)["errors"]
    root = pathlib.Path(path).parents[2]
    rules = [
        group
        for file in sorted((root / "otel/prometheus/rules").iterdir())
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    plain = yaml.safe_load((root / "examples/kubernetes/statefulset.yaml").read_text())
    made = {"lint": lint, "sets": sets, "packed": packed, "rules": rules, "plain": plain}
    json.dump(made, sys.stdout)


main()
