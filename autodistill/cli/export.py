"""`autodistill export`: a student as ONNX or for numpy, checked against torch."""

from __future__ import annotations

import argparse
import json

from autodistill.cli.options import add_verbosity, verbosity
from autodistill.cli.streams import text_output
from autodistill.report.leaderboard import finite, short_path
from autodistill.terminal.stages import shown


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "export",
        help="write a student as ONNX, or for numpy",
        description="Write a student as ONNX into DIR/onnx (and DIR/onnx-int8), or for numpy alone into DIR/numpy, and compare its "
        "predictions on the validation rows and its latency with torch's.",
        allow_abbrev=False,
    )
    command.add_argument("folder", metavar="DIR", help="a folder that `autodistill distill` wrote")
    command.add_argument(
        "--format", default="onnx", choices=["onnx", "onnx-int8", "numpy"], help="default: onnx; numpy is for static students"
    )
    command.add_argument("--int8", action="store_true", help="the same as --format onnx-int8: also write 8-bit weights")
    command.add_argument(
        "--qat",
        action="store_true",
        help="with 8-bit weights: where they lose more than half a point, train the student for a few steps with rounded weights "
        "(quantisation-aware training), and keep the better file",
    )
    command.add_argument("--dataset", metavar="NAME|PATH", help="the dataset with the validation rows (default: the student's own)")
    command.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    command.add_argument("--json", action="store_true", help="one JSON list on stdout at the end; all else goes to stderr")
    add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print how the result compares with torch."""
    with text_output(args.json) as out:
        with shown(out, verbosity(args)) as listen:
            from autodistill.export.int8 import int8_advice, qat_result
            from autodistill.export.onnx import export

            exports = export(
                args.folder,
                format=args.format,
                int8=args.int8,
                qat=args.qat,
                dataset=args.dataset,
                overwrite=args.overwrite,
                listen=listen,
            )
        out.write("\n")
        for exported in exports:
            facts = exported.facts
            scores, latency, form = facts["validation"], facts["latency_ms"], facts["format"]
            times = f"{latency[form]:.3g} ms (torch {latency['torch']:.3g} ms, {facts['latency_of']})"
            out.write(
                f"{short_path(exported.folder)}: {facts['bytes'] / 1e6:.2f} MB; logits differ from torch's by at most "
                f"{facts['max_abs_difference']:.2g}; {facts['metric']} {scores[form]:.4f} (torch {scores['torch']:.4f}, "
                f"{scores[form] - scores['torch']:+.4f}); {times}\n"
            )
            if "beside_float32" in facts:
                out.write(f"  int8 is {int8_advice(facts['beside_float32'])}\n")
            if "qat" in facts:
                out.write(f"  quantisation-aware training: {facts['metric']} {qat_result(facts['qat'])}\n")
    if args.json:
        print(json.dumps([finite(exported.facts) for exported in exports], indent=2, ensure_ascii=False, allow_nan=False))
    return 0
