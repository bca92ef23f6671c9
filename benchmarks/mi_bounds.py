"""MI-alpha on Gaussians of known mutual information, with the optimal critic: the trade-off that mi_alpha makes.

After Poole et al. 2019, "On Variational Bounds of Mutual Information", section 3: x and y are 20-dimensional, each pair of
coordinates correlated by ρ, so that I(X; Y) = −10 log(1 − ρ²) nats; batches of K = 64; f(x, y) = log p(y|x)/p(y), q = 1.
Prints a table (or --json) and writes the figure to docs/mi_bounds.html.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import plotly.graph_objects as go
import torch
from plotly.colors import qualitative
from torch import Tensor

from autodistill.losses.mutual_information import mutual_information_bound

DIMENSIONS, PAIRS = 20, 64
ALPHAS = (0.0, 0.01, 0.1, 0.5, 0.9, 1.0)
NATS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)


def optimal_scores(nats: float) -> Tensor:
    """A batch's scores (K, K): log p(y_i | x_j) / p(y_i)."""
    variance = math.exp(-2 * nats / DIMENSIONS)  # of y given x
    rho = math.sqrt(1 - variance)
    x = torch.randn(PAIRS, DIMENSIONS, dtype=torch.float64)
    y = rho * x + math.sqrt(variance) * torch.randn_like(x)
    return 0.5 * (y[:, None] ** 2 - (y[:, None] - rho * x[None]) ** 2 / variance).sum(-1) + nats


def measure(batches: int) -> list[dict[str, float]]:
    """Mean and standard deviation of the bound over batches, for each mutual information and mi_alpha. The batches are shared."""
    rows = []
    for nats in NATS:
        scores = [optimal_scores(nats) for _ in range(batches)]
        for mi_alpha in ALPHAS:
            bounds = torch.stack([mutual_information_bound(one, mi_alpha, 0.0) for one in scores])
            rows.append({"nats": nats, "mi_alpha": mi_alpha, "mean": bounds.mean().item(), "sd": bounds.std().item()})
    return rows


def figure(rows: list[dict[str, float]], batches: int) -> go.Figure:
    """The bounds' means with a band of one standard deviation, against the truth."""
    chart = go.Figure()
    for mi_alpha, colour in zip(ALPHAS, qualitative.Safe, strict=False):
        mine = [row for row in rows if row["mi_alpha"] == mi_alpha]
        name = f"mi_alpha {mi_alpha:g}" + {0.0: " (TUBA, NWJ)", 1.0: " (InfoNCE)"}.get(mi_alpha, "")
        x, middle = [row["nats"] for row in mine], [row["mean"] for row in mine]
        edge = [row["mean"] + row["sd"] for row in mine] + [row["mean"] - row["sd"] for row in reversed(mine)]
        band = go.Scatter(x=x + x[::-1], y=edge, fill="toself", fillcolor=colour, opacity=0.15, line_width=0, legendgroup=name)
        chart.add_trace(band.update(showlegend=False, hoverinfo="skip"))
        error = [row["sd"] for row in mine]
        line = go.Scatter(x=x, y=middle, name=name, legendgroup=name, line_color=colour, customdata=error)
        chart.add_trace(line.update(hovertemplate="truth %{x} nats: %{y:.2f} ± %{customdata:.2f}"))
    chart.add_trace(go.Scatter(x=[0, NATS[-1]], y=[0, NATS[-1]], name="truth", mode="lines", line={"color": "black", "dash": "dash"}))
    chart.add_hline(y=math.log(PAIRS), line_dash="dot", annotation_text=f"log {PAIRS}", annotation_position="bottom right")
    return chart.update_layout(
        title=f"MI-alpha on {DIMENSIONS}-dimensional Gaussians, optimal critic, K = {PAIRS} (band: one sd of {batches} batches)",
        xaxis_title="mutual information (nats)", yaxis_title="bound (nats)", yaxis_range=[-0.5, 13], template="plotly_white",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "mi_bounds.html")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rows = measure(options.batches)
    figure(rows, options.batches).write_html(options.out, include_plotlyjs="cdn", div_id="mi-bounds")
    if options.json:
        print(json.dumps({"pairs": PAIRS, "dimensions": DIMENSIONS, "batches": options.batches, "seed": options.seed, "rows": rows}))
        return
    print(f"bound in nats, mean ± sd of {options.batches} batches of {PAIRS} pairs (log {PAIRS} = {math.log(PAIRS):.2f})")
    print("truth  " + "".join(f"{f'mi_alpha {mi_alpha:g}':>16}" for mi_alpha in ALPHAS))
    for nats in NATS:
        cells = [f"{row['mean']:.2f} ± {row['sd']:.2f}" for row in rows if row["nats"] == nats]
        print(f"{nats:5.1f}  " + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
