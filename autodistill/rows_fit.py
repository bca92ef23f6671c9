"""How many unlabelled rows a batch has: a space, adapted to the dataset's rows."""

from __future__ import annotations

from dataclasses import replace

from autodistill.space import Space

SHARE = "training.unlabelled_share"
MORE = 0.05
"""A batch's share of unlabelled rows may be larger by this than their share of all rows."""


def fit_rows(space: Space, labelled: int, unlabelled: int) -> tuple[Space, str | None]:
    """The space for this many training rows.

    Without unlabelled rows, it does not ask how they are used. With some, a batch has at most their share of all rows: where most rows have
    labels, more would only take the place of labels. (With 6,000 labels of clinc150 and 6,000 foreign texts, a student whose batches are
    four fifths foreign texts has .840 on the test split after 1,000 steps, .907 with a quarter, and .911 without them and a teacher.) A
    space that names one share, or a range, keeps it.

    Returns:
        the space, and a text for people if its default has changed.
    """
    if not unlabelled:
        return space.without_unlabelled(), None
    share = unlabelled / (labelled + unlabelled)
    asked = space.parameters.get(SHARE, ())
    left_out = {value for domain in asked if domain.kind == "choice" for value in domain.values if float(value) > share + MORE}
    instead = round(max(share, 0.01), 2)
    fitted = tuple(domain.without(left_out, instead) if domain.kind == "choice" else domain for domain in asked)
    space, before = replace(space, parameters={**space.parameters, **({SHARE: fitted} if asked else {})}), space
    now, usual = (item.defaults().training.unlabelled_share for item in (space, before))
    if now == usual:
        return space, None
    return space, f"{share:.0%} of the training rows are unlabelled, so by default {now:.0%} of a batch are (else {usual:.0%})"
