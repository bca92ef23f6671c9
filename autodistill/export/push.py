"""`autodistill push`: a student's folder on the Hugging Face hub, with its model card."""

from __future__ import annotations

from pathlib import Path

from autodistill.cache import file_damage
from autodistill.errors import ModelError, RunError, UsageError
from autodistill.events import Listen, Stage
from autodistill.export.folder import ABOUT
from autodistill.export.student import ANOTHER_COPY
from autodistill.storage import user_path

CARD = "README.md"


def push_to_hub(folder: str | Path, repo_id: str, *, private: bool = False, listen: Listen | None = None) -> str:
    """Upload what `distill` wrote, with all that `export` wrote into it, to a model repository. Returns its address.

    The token is that of `hf auth login` or of the variable HF_TOKEN. The repository is made where there is none. Files in it that the
    folder does not have stay.

    Args:
        folder: what `distill` wrote.
        repo_id: OWNER/NAME.
        private: make the repository, if it is made, readable to its owner alone.
        listen: called with each event of the run (autodistill.events).

    Raises:
        ModelError: a file of the folder is damaged.
        UsageError: the folder is no student's, the name is not valid, or there is no token, or one that may not write there.
        RunError: the hub cannot be reached, or refuses the files.
    """
    import httpx2
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    place = user_path(folder, UsageError)
    missing = next((name for name in (ABOUT, CARD) if not (place / name).is_file()), None)
    if missing is not None:
        raise UsageError(f"{folder} is not what `autodistill distill` wrote: it has no {missing}; give such a folder")
    for file in sorted(place.rglob("*")):
        if file.is_file() and (reason := file_damage(file)) is not None:
            raise ModelError(f"{file} is damaged ({reason}), so nothing is uploaded; {ANOTHER_COPY}")
    try:
        validate_repo_id(repo_id)
        named = "/" in repo_id
    except HFValidationError:
        named = False
    if not named:
        raise UsageError(f"the repository is {repo_id!r}; it should be OWNER/NAME, of letters, digits and - _ . alone")
    if get_token() is None:
        raise UsageError("there is no token of the Hugging Face hub; log in with `hf auth login`, or set HF_TOKEN to one that may write")
    tell: Listen = listen or (lambda event: None)
    api = HfApi()
    with Stage(tell, "folder", f"uploading {folder} to {repo_id}") as stage:
        try:
            address = str(api.create_repo(repo_id, private=private, exist_ok=True))
            api.upload_folder(repo_id=repo_id, folder_path=place, commit_message="Upload a student distilled with autodistill")
        except HfHubHTTPError as cause:
            status = getattr(cause.response, "status_code", None)
            if status in (401, 403):
                raise UsageError(
                    f"the hub refuses to write {repo_id} ({status}): its token is not valid, or may not write there; log in anew with "
                    "`hf auth login`, or give a repository of your own"
                ) from None
            raise RunError(f"the hub refuses the files of {repo_id}: {str(cause).splitlines()[0]}") from None
        except (OSError, httpx2.HTTPError) as cause:
            raise RunError(f"the hub at {api.endpoint} cannot be reached ({type(cause).__name__}); try again when it can be") from None
        stage.end(address)
    return address
