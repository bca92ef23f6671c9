"""The dataset features: their names and what each one means."""

from __future__ import annotations

VERSION = 1
"""The version of the measurements. Any change to a feature raises it; features of different versions are not compared."""

FEATURES: dict[str, str] = {
    "is_image": "1 if the rows are images, 0 if they are texts",
    "is_pair": "1 if a row is two texts",
    "is_regression": "1 if the target is a number",
    "log_rows": "log10 of the number of training rows",
    "log_rows_per_class": "log10 of the mean number of training rows per class; for a regression, of the number of training rows",
    "log_classes": "log2 of the number of classes: 1 for two classes; 0 for a regression",
    "imbalance": "log10 of the largest class's size over the smallest's (of classes that occur); 0 if balanced, and for a regression",
    "majority_share": "share of the largest class; 0 for a regression",
    "label_entropy": "entropy of the classes over log(classes): 1 if balanced; for a regression, of ten equally wide bins of the target",
    "words_mean": "mean number of words in a row, both texts of a pair counted; 0 for images",
    "words_p90": "90th percentile of the number of words in a row; 0 for images",
    "pieces_mean": "mean number of word pieces of the frozen encoder's tokenizer in a row; 0 for images",
    "pieces_p90": "90th percentile of the number of word pieces in a row; 0 for images",
    "pieces_per_word": "word pieces over words: high if words are not in the vocabulary of the encoder's tokenizer; 0 for images",
    "log_vocabulary": "log10 of 1 + the number of different words in the sampled rows; 0 for images",
    "type_token_ratio": "different words over words, in the first 5,000 words of the sampled rows; 0 for images",
    "pair_overlap": "mean share of common words (Jaccard) of the two texts of a row; 0 for single texts and for images",
    "log_image_side": "log2 of the images' side in pixels; 0 for texts",
    "image_contrast": "mean standard deviation of an image's grey values, in 0 … 0.5; 0 for texts",
    "majority_score": "score of always predicting the largest class; 0 for a regression",
    "probe_score": "score of a ridge regression on the frozen features (the linear probe)",
    "probe_gain": "probe_score − majority_score",
    "probe_slope": "probe_score − the same with half of the sampled training rows: the gain from more data (slope of the learning curve)",
    "knn_score": "score of the ten nearest neighbours in the frozen features",
    "surface_score": "score of a ridge regression on the plain input: TF-IDF of words and word pairs; pixels of 8×8 images",
    "surface_gain": "probe_score − surface_score: the gain from the encoder over words or pixels",
    "separability": "share of the frozen features' variance between the classes (or bins of the target), corrected for chance: 0 if none",
    "intrinsic_dimension": "intrinsic dimension of the frozen features by the two nearest neighbours (TwoNN, Facco et al. 2017)",
}
"""Each feature with its meaning in one line, in the order in which they are returned.

The frozen features of a text are its mean-pooled embedding by all-MiniLM-L6-v2 (of a pair a, b: [a, b, |a − b|, a · b]); those of an
image are its histograms of oriented gradients and mean colours. Scores are on held-out rows, by the dataset's own metric.
"""
OF_LABELS = (
    "is_regression", "log_rows_per_class", "log_classes", "imbalance", "majority_share", "label_entropy", "majority_score", "probe_score",
    "probe_gain", "probe_slope", "knn_score", "surface_score", "surface_gain", "separability",
)  # fmt: skip
"""The features that say something of labels. A dataset without labels, of sentence embeddings, lacks them: they are not 0, but missing."""
