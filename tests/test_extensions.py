"""Components of other packages: found without being imported, searched with, and told by name where they are broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_teacher import save_bert, text_dataset

from autodistill.records import read_records

PACKAGE = Path(__file__).parent / "extension"
SPACE = """\
version: 1
name: extras
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  teacher.learning_rate: {{value: 1.0e-3}}
  teacher.max_length: {{value: 32}}
  student.family: {{value: bag}}
  student.embedding_size: {{choice: [8, 16]}}
  objective.prediction.kind: {{value: huber}}
  objective.prediction.delta: {{float: [0.5, 2.0]}}
  augmentation.kind: {{value: rotated}}
  training.epochs: {{value: 2}}
  training.learning_rate: {{value: 1.0e-2}}
"""


def install(site: Path, package: Path = PACKAGE) -> Path:
    """What pip does with a package that has nothing to compile: its modules, and its metadata beside them."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for folder in package.iterdir():
        if (folder / "__init__.py").exists():
            shutil.copytree(folder, site / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    assert importlib.metadata.Distribution.at(info).metadata["Name"] == project["name"]
    return site


def broken(site: Path, source: str, points_to: str = "kd_broken") -> Path:
    """A package whose one module has this source."""
    package = site.parent / "source"
    (package / "kd_broken").mkdir(parents=True)
    (package / "kd_broken" / "__init__.py").write_text(source)
    (package / "pyproject.toml").write_text(
        f'[project]\nname = "kd-broken"\nversion = "2.1"\n[project.entry-points."autodistill.components"]\nown = "{points_to}"\n'
    )
    return install(site, package)


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the site on its path; a search's workers have it too."""
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environment)


def autodistill(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(site, "-m", "autodistill.cli.main", *words)


def test_components_of_a_package_are_read_without_importing_it(tmp_path: Path) -> None:
    code = (
        "import sys; from autodistill.components import specs\n"
        "from autodistill.recipe import Recipe\n"
        "part = Recipe.parse({'task': 'text-classification', 'teacher': {'model': 'm'}, 'student': {'family': 'bag', 'embedding_size': 8},"
        " 'objective': {'prediction': {'kind': 'huber', 'delta': 2.0}}, 'augmentation': {'kind': 'rotated', 'copies': 2}})\n"
        "print(part.student.own, part.objective.prediction.own, specs('student')['bag'].extension.distribution)\n"
        "print([name for name in ('kd_extras', 'torch') if name in sys.modules])\n"
    )
    done = run(install(tmp_path / "site"), "-c", code)
    assert done.stdout.splitlines() == ["{'embedding_size': 8, 'init': 'teacher'} {'delta': 2.0} kd-extras 0.1", "[]"], done.stderr
    assert "'bag'" in run(tmp_path, "-c", code).stderr  # it is the package that brings it


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_with_components_of_a_package(tmp_path: Path) -> None:
    site, studies, out = install(tmp_path / "site"), tmp_path / "studies", tmp_path / "student"
    made = text_dataset(160)
    pd.DataFrame({"text": made.train.texts, "label": made.train.labels}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "extras.yaml").write_text(SPACE.format(teacher=save_bert(tmp_path / "bert")))
    asked = ["--dataset", str(tmp_path / "rows.parquet"), "--space", str(tmp_path / "extras.yaml"), "--study", "s", "--cold"]
    done = autodistill(site, "search", *asked, "--studies-dir", str(studies), "--trials", "1", "--workers", "1", "--no-frontier")
    assert done.returncode == 0, done.stderr
    assert "A bag of words with" in (studies / "s" / "report.html").read_text(encoding="utf-8")  # the family's name for people

    records = read_records(studies / "s" / "trials.parquet")
    searched = [record for record in records if record.role in ("defaults", "search")]
    assert len(searched) == 2
    for record in searched:
        recipe = record.recipe
        kinds = recipe["student"]["family"], recipe["objective"]["prediction"]["kind"], recipe["augmentation"]["kind"]
        assert kinds == ("bag", "huber", "rotated")
        assert record.state in ("complete", "pruned"), record.reason
        assert set(record.curve[0].losses) == {"hard_label", "prediction"}
    asked = [str(studies / "s"), "--dataset", str(tmp_path / "rows.parquet"), "--out", str(out), "--seeds", "1"]
    done = autodistill(site, "distill", *asked)
    assert done.returncode == 0, done.stderr

    # It opens with us, and without us and the package that it came from.
    done = autodistill(site, "predict", str(out), "a good film", "awful", "--json")
    assert done.returncode == 0, done.stderr
    code = (
        f"import sys, json; sys.path.insert(0, {str(out)!r}); from load import encode, load; model, tokenizer = load()\n"
        "print(json.dumps(model(*encode(tokenizer, ['a good film', 'awful'])).softmax(dim=1).tolist()))\n"
        "assert not {'autodistill', 'kd_extras'} & set(sys.modules)\n"
    )
    shares = run(tmp_path, "-c", code)
    assert shares.returncode == 0, shares.stderr
    predictions = json.loads(done.stdout)
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in predictions], json.loads(shares.stdout), atol=1e-5)
    gone = autodistill(tmp_path, "predict", str(out), "a good film")
    assert gone.returncode == 2
    assert (
        "the student's family is 'bag'; allowed: bert, bilstm, cnn, cut, encoder, shallow, static, timm. Install the package that has it."
        in gone.stderr
    )


GOOD = "from autodistill.components import component\n\n"


@pytest.mark.parametrize(
    ("source", "points_to", "why"),
    [
        ("x = (", "kd_broken", "was never closed"),
        ("", "kd_broken", "nothing in it is marked with @component"),
        ("", "kd_broken.losses", "there is no such module"),
        ("", "kd_brokn", "there is no such module"),
        ("", "kd_broken:loss", "it should point to a module or package"),
        (
            GOOD + '@component("objective.prediction")\ndef own(student_logits, *, scale=1.0): ...',
            "kd_broken",
            "__init__.py, line 4, own: parameter scale needs an annotation, it is a recipe field",
        ),
        (
            GOOD + '@component("objective.prediction")\ndef own(student_logits, *, scale: np.float32 = 1.0): ...',
            "kd_broken",
            "own: scale: name 'np' is not defined, as it is read without being imported; it may use Annotated, CLASSIFICATION, ",
        ),
        (
            GOOD + '@component("objective.prediction")\ndef own(student_logit): ...',
            "kd_broken",
            "own: it asks for 'student_logit'; a component of the slot objective.prediction may ask for",
        ),
        (
            GOOD + '@component("objective.predictions")\ndef own(student_logits): ...',
            "kd_broken",
            "own: the slot is 'objective.predictions'; allowed: augmentation, objective.attention",
        ),
        (
            GOOD + '@component("objective.prediction", tasks=("text-classifcation",))\ndef own(student_logits): ...',
            "kd_broken",
            "tasks is ('text-classifcation',); allowed: text-classification",
        ),
        (
            GOOD + '@component("objective.prediction")\ndef kl(student_logits): ...',
            "kd_broken",
            "objective.prediction 'kl' is defined in both autodistill.losses.prediction and kd_broken",
        ),
        (
            GOOD + '@component("objective.prediction")\ndef own(student_logits, *, weight: float = 1.0): ...',
            "kd_broken",
            "objective.prediction 'own' makes no recipe: its field 'weight' is one that every component of the slot has",
        ),
        (
            GOOD + '@component("augmentation")\ndef own(words, rng): ...',
            "kd_broken",
            "own: level is None; allowed: words, texts, keep, replace, pixels",
        ),
        (
            GOOD + '@component("student")\nclass Own:\n    x = 1',
            "kd_broken",
            "Own: the class has no method build of its own, whose signature is the recipe's fields",
        ),
    ],
)  # fmt: skip
def test_a_broken_package_is_named_where_a_recipe_or_a_space_is_read(tmp_path: Path, source: str, points_to: str, why: str) -> None:
    site = broken(tmp_path / "site", source, points_to)
    done = autodistill(site, "spaces", "text")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    first = f"autodistill: the package kd-broken 2.1 says that {points_to.partition(':')[0]} has components of autodistill, but "
    assert done.stderr.startswith(first), done.stderr
    assert why in done.stderr
    assert done.stderr.rstrip().endswith("Install a correct version, or remove it: pip uninstall kd-broken")


def test_a_broken_package_does_not_stop_what_reads_no_recipe(tmp_path: Path) -> None:
    site = broken(tmp_path / "site", "x = (")
    done = autodistill(site, "datasets")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_family_that_cannot_be_imported_or_is_none_is_named(tmp_path: Path) -> None:
    source = GOOD + '@component("student", kind="own")\nclass Own:\n    def build(self, context): ...\n'
    code = (
        "from autodistill.errors import ComponentError\nfrom autodistill.models import family_named\n"
        "try: family_named('own')\nexcept ComponentError as error: print(error)"
    )
    done = run(broken(tmp_path / "a" / "site", source), "-c", code)
    assert "kd-broken 2.1" in done.stdout, done.stderr
    assert "kd_broken.Own is no class that derives from autodistill.models.family.StudentFamily" in done.stdout
    done = run(broken(tmp_path / "b" / "site", source + "import nowhere\n"), "-c", code)
    assert "kd_broken cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in done.stdout, done.stderr
    abstract = source.replace("class Own:", "class Own(StudentFamily):")
    source = "from autodistill.models.family import StudentFamily\n" + abstract
    done = run(broken(tmp_path / "c" / "site", source), "-c", code)
    assert "kd-broken 2.1" in done.stdout, done.stderr
    assert "abstract method" in done.stdout
