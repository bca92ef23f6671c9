"""A family of students: how they are built, trained, exported, opened and described. One object, in one file, for each family.

A family is a class that is marked as a component. The keyword-only parameters of its `build` are the student's fields in a recipe:

    @component("student", kind="cnn", tasks=TEXT, title="CNN", size=("channels",))
    class CnnFamily(TorchTextFamily):
        def build(self, context: StudentContext, *, channels: Annotated[int, Field(ge=4)] = 128) -> Cnn: ...

Its name is the value of `student.family` in recipes and spaces. A family whose `build` asks for `variant` has many members, named after a
colon (`timm:resnet10t`). What the mark says beside the tasks is for code that knows students only from records (families.py).
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from autodistill.models.base import StudentModule
from autodistill.models.form import TrainingForm, TrialReads
from autodistill.models.sources import source_folder
from autodistill.models.used_rows import UsedRows
from autodistill.models.vocabulary import TrimmedEmbedding
from autodistill.models.writing import write_json, write_loader, write_tokenizer, write_weights
from autodistill.task_types import target_of

if TYPE_CHECKING:
    from autodistill.recipe import Recipe
    from autodistill.recipe.parts import Component


@dataclass(frozen=True)
class SavedStudent:
    """A trained student, read back. facts: saved.json (models/saved.py). tokenizer: folder of its files, None if it has none."""

    model: StudentModule
    recipe: Recipe
    facts: dict[str, Any]
    tokenizer: Path | None


class StudentFamily(ABC):
    """Everything that differs between students of one family and others. It has no state: methods get what they need as arguments."""

    library: ClassVar[str]
    """The library that opens an exported student, as the Hugging Face hub names it."""

    numpy_loader: ClassVar[str | None] = None
    """The module, in numpy alone, whose source is a written student's load.py; None where the student's forward is not that simple."""

    free_at_start: ClassVar[tuple[str, ...]] = ("dropout", "vocabulary")
    """The recipe fields in which a student may differ from the saved student that it starts from (models/start.py)."""

    # building and training

    @abstractmethod
    def build(self, *args: Any, **fields: Any) -> StudentModule:
        """A student ready to train; its random weights are drawn from torch's generator.

        Args:
            args: the StudentContext, and the variant if the method asks for it.
            fields: the fields of the recipe.

        Raises:
            RecipeError: the fields do not go together, or the student cannot start from this teacher.
            ModelError: the model does not exist, or its weights cannot be fetched.
        """

    def pretrained_model(self, part: Component) -> str | None:
        """If the recipe's student is a pretrained text model with a tokenizer of its own: the model's hub id or folder; else None.

        In a space this is `student.model` (token_fit.py).
        """
        return None

    def source(self, part: Component) -> Path | None:
        """The folder of that model's configuration and tokenizer; None if the student reads with its teacher's tokenizer.

        Raises:
            ModelError: the model is not available.
        """
        model = self.pretrained_model(part)
        return None if model is None else source_folder(model, weights=False, role="student")

    def pretrained_weights(self, part: Component) -> Path | None:
        """The file of the pretrained weights that the recipe's student starts from, which is fetched if it must be; None if it has none, or
        if its library finds them. (Those of a `pretrained_model` are another matter: `source`.)

        Raises:
            ModelError: they cannot be had.
        """
        return None

    def untrained(self, part: Component) -> Component:
        """The recipe's student with the cheapest initialisation, for a student that is only measured or gets saved weights."""
        return part.model_copy(update={"init": "random"}) if "init" in part.own_names else part

    def for_vectors(self, part: Component) -> Component:
        """The recipe's student as it is pretrained for sentence embeddings: with a full vocabulary, from which others take their pieces."""
        return part.model_copy(update={"vocabulary": "full"}) if "vocabulary" in part.own_names else part

    def word_table(self, student: Any) -> nn.Embedding | None:
        """The word embeddings, whose outputs mixup mixes; None if the student has none."""
        return None

    def weights_at_start(self, student: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a saved student's weights those that a new student starts with, by the new one's names: all but the output layer's.

        The table of word embeddings is the saved student's own, whatever the new one's vocabulary.
        """
        head = next(path for path, module in student.named_modules() if module is student.output_layer)
        return {name: value for name, value in weights.items() if not name.startswith(f"{head}.")}

    def training_form(self, student: Any, reads: TrialReads) -> TrainingForm:
        """The form that the student is trained in. It may change the student until `restore` is called."""
        table = self.word_table(student)
        if table is None or reads.ids is None or isinstance(table, TrimmedEmbedding):
            return TrainingForm(student)
        return UsedRows(student, table, reads.ids, reads.pad_id)

    # the exported folder

    @abstractmethod
    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """Write the weights (model.safetensors), the configuration, and the tokenizer or transform. names: of the outputs.

        Before this, the scale that targets were learned on is folded into the student's `output_layer`, so its outputs are in the
        dataset's units.

        Returns:
            the contents of the folder's student.json: `format`, `inputs` (the names of the model's inputs, in order), for texts
            `max_length`, for images `image_size`, `mean` and `std`, and what `open` and `usage` need.
        """

    @abstractmethod
    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """A written student in evaluation mode, called with its input tensors in order, returns logits (B, C). about: its student.json."""

    @abstractmethod
    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """Lines of Python for the model card, which open the folder `FOLDER` and run the student.

        about: its student.json. pairs: whether rows are pairs of texts.
        """

    def written_note(self, params: int) -> str:
        """For the model card: why a written student has a different number of parameters, `params`."""
        return f"It is written with {params:,} parameters in all."

    def ready_for_onnx(self, module: nn.Module) -> nn.Module:
        """The module to trace, of a student that `open` has opened. It may change the student."""
        return module


class TextFamily(StudentFamily):
    """Students that read texts with a tokenizer, usually their teacher's. It is written beside them."""

    def write_tokenizer(self, folder: Path, saved: SavedStudent, inputs: list[str]) -> None:
        """Write the tokenizer. inputs: which of its outputs the model reads."""
        assert saved.tokenizer is not None
        write_tokenizer(folder, saved.tokenizer, inputs, saved.facts["context"])


class TorchTextFamily(TextFamily):
    """Text students that no library can open. They are written with a load.py that needs torch, safetensors and tokenizers.

    Their modules have `embedding` (an nn.Embedding) and `pairs`. loader: the module whose source becomes load.py. It has
    `load(folder)`, which returns the model and the tokenizer, and `encode(tokenizer, rows)`. Its model takes `sizes` as keywords, and for
    sentence embeddings `unit_length=True` (its outputs are at length 1); it has `rows`, a buffer with the index of the embedding for each
    token id.
    """

    library = "pytorch"
    loader: ClassVar[str]

    @abstractmethod
    def sizes(self, student: Any) -> dict[str, Any]:
        """The keyword arguments of the model in load.py, except those of the word embeddings and `pairs`."""

    def weight_name(self, name: str) -> str:
        """The name that one of the student's weights has in load.py."""
        return name

    def word_table(self, student: Any) -> nn.Embedding | None:
        """The embedding."""
        table: nn.Embedding = student.embedding
        return table

    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """See `StudentFamily`."""
        student: Any = saved.model
        context, words = saved.facts["context"], student.embedding
        weights: dict[str, Tensor] = {
            self.weight_name(name): value for name, value in student.state_dict().items() if not name.startswith("embedding.")
        }
        weights["embedding.weight"] = words.weight
        weights["rows"] = words.rows.long() if isinstance(words, TrimmedEmbedding) else torch.arange(len(words.weight))
        sizes = {"vocabulary": context["vocab_size"], "pieces": len(words.weight), "embedding_size": words.embedding_dim}
        sizes |= self.sizes(student) | {"pairs": student.pairs}
        sizes |= {"unit_length": True} if target_of(saved.recipe.task).are_vectors else {}
        write_weights(folder, weights)
        config = {"architecture": saved.recipe.student.name, "model": sizes, "id2label": names, "max_length": context["max_length"]}
        write_json(folder / "config.json", config)
        inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if student.pairs else [])]
        self.write_tokenizer(folder, saved, inputs)
        write_loader(folder, self.loader)
        return {"format": "torch", "inputs": inputs, "max_length": context["max_length"]}

    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """As load.py does."""
        module: nn.Module = importlib.import_module(self.loader).load(folder)[0]
        return module

    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """By load.py."""
        rows = '[("a text", "the other")]' if pairs else '["a text"]'
        return (
            "from load import encode, load  # load.py in this folder; needs torch, safetensors and tokenizers\n\n"
            f"model, tokenizer = load(FOLDER)\nlogits = model(*encode(tokenizer, {rows}))\n"
        )
