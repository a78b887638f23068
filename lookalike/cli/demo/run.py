"""The demo, stage by stage."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.cli.console import note, progress
from lookalike.cli.demo.examples import draw_examples
from lookalike.cli.demo.folder import DemoFolder
from lookalike.cli.demo.report import DemoReport, print_report
from lookalike.cli.demo.stages import Stages
from lookalike.cli.index import Indexed, index_catalog, report_failures
from lookalike.cli.installation import Installation
from lookalike.cli.measure_online import Evaluation, evaluate_catalog
from lookalike.cli.processes import ServiceProcesses
from lookalike.cli.train import describe_training, training_progress
from lookalike.client import Client
from lookalike.errors import LookalikeError

COLLECTION = "demo"
SHARDS = 2
_K = 10
_CONCURRENCY = 2
_TITLES = (
    "Catalogue",
    "Training",
    "Plain backbone",
    "Services",
    "Indexing",
    "Evaluation",
    "Report",
)


class Demo:
    """One run of the demo.

    Args:
        folder: Where everything is written.
        services: Gets the started services.
        catalog: The catalogue to use; None simulates one.
        products: How many products to simulate.
        views: Photos of each.
        seed: Of the simulation and the training.
    """

    def __init__(
        self,
        folder: DemoFolder,
        services: ServiceProcesses,
        *,
        catalog: Catalog | None,
        products: int,
        views: int,
        seed: int,
    ) -> None:
        self._folder = folder
        self._services = services
        self._given = catalog
        self._simulation = {"products": products, "views": views, "seed": seed}
        self._seed = seed
        self._stages = Stages(_TITLES)
        self._address = ""
        self._example: Path | None = None

    def run(self) -> list[str]:
        """Runs all stages; returns what the figures should fulfil and do not.

        Raises:
            LookalikeError: A stage failed.
        """
        catalog = self._catalog()
        self._train(catalog)
        backbone = self._plain_backbone(catalog)
        self._serve()
        with Client(self._address) as client:
            try:
                indexed = self._index(client, catalog)
                evaluation = self._evaluate(client, catalog)
            except LookalikeError:
                self._services.check()
                raise
        return self._report(catalog, indexed, evaluation, backbone)

    def keep_serving(self) -> None:
        """Serves until Ctrl-C.

        Raises:
            UnavailableError: A service ended.
        """
        # Started by its path, such as .venv/bin/lookalike, the command need not be on the PATH.
        program = sys.argv[0] if Path(sys.argv[0]).name == "lookalike" else "lookalike"
        options = ("--gateway", self._address, "--collection", COLLECTION, "--image", str(self._example))
        command = shlex.join((program, "search", *options))
        note(f"\nServing at {self._address} until Ctrl-C. Try:\n\n  {command}\n")
        try:
            self._services.watch()
        except KeyboardInterrupt:
            note("Stopping ...")

    def _catalog(self) -> Catalog:
        with self._stages.next() as label:
            if self._given:
                note(f"{len(self._given.items):,} photos")
                return self._given
            file = self._folder.simulated / "catalog.csv"
            if self._folder.has_simulated(self._simulation):
                note(f"the simulated photos of an earlier run are still in {self._folder.simulated}")
            else:
                from lookalike.synth import generate

                shutil.rmtree(self._folder.simulated, ignore_errors=True)
                with progress(f"{label} Photos") as update:
                    file = generate(self._folder.simulated, **self._simulation, progress=update)
                self._folder.remember_simulated(self._simulation)
            catalog = read_catalog(file)
            note(f"{len(catalog.items):,} photos of {self._simulation['products']:,} made-up products")
            return catalog

    def _train(self, catalog: Catalog) -> None:
        from embedder.training.config import TrainConfig
        from embedder.training.train import train

        with self._stages.next() as label:
            config = TrainConfig(seed=self._seed, cache_folder=self._folder.cache)
            with training_progress(label) as on_progress:
                result = train(catalog, self._folder.bundle, config, on_progress)
            describe_training(result)

    def _plain_backbone(self, catalog: Catalog) -> dict[str, float]:
        from lookalike.cli.demo.backbone import plain_backbone_figures

        folder = self._folder
        with self._stages.next() as label, progress(f"{label} Photos") as update:
            return plain_backbone_figures(catalog, folder.backbone, folder.cache / "features", update)

    def _serve(self) -> None:
        with self._stages.next():
            installation = Installation(
                bundle=self._folder.bundle,
                data=self._folder.data,
                shards=SHARDS,
                port=0,
                extra=("--drain-wait-seconds", "0", "--stop-grace-seconds", "2"),
            )
            self._address = installation.start(self._services)
            note(f"embedder, {SHARDS} hashers and gateway run; the gateway listens at {self._address}")

    def _index(self, client: Client, catalog: Catalog) -> Indexed:
        with self._stages.next() as label:
            with progress(f"{label} Items") as update:
                indexed = index_catalog(client, catalog, COLLECTION, update=update)
            report_failures(indexed.report)
            count = indexed.report.acknowledged_count
            note(f"{count:,} photos indexed, {indexed.items_per_second:,.0f} a second")
            return indexed

    def _evaluate(self, client: Client, catalog: Catalog) -> Evaluation:
        with self._stages.next() as label, progress(f"{label} Searches") as update:
            return evaluate_catalog(
                client, catalog, COLLECTION, k=_K, concurrency=_CONCURRENCY, update=update
            )

    def _report(
        self, catalog: Catalog, indexed: Indexed, evaluation: Evaluation, backbone: dict[str, float]
    ) -> list[str]:
        from lookalike.cli.demo.page import render_page
        from lookalike.cli.demo.sheet import draw_sheet

        with self._stages.next():
            report = DemoReport(
                figures=evaluation.figures,
                backbone=backbone,
                item_count=indexed.item_count,
                ingest_items_per_second=indexed.items_per_second,
                concurrency=_CONCURRENCY,
                stage_seconds=self._stages.seconds,
            )
            examples = draw_examples(evaluation.rankings, catalog, seed=self._seed)
            self._example = examples[0].photo
            heading = "Lookalike finds the same product"
            summary = (
                f"{report.figures['queries']:,} queries over {report.item_count:,} photos:"
                f" MAR@10 {report.figures['mar@10']:.3f}, R@1 {report.figures['recall@1']:.3f};"
                f" plain backbone {backbone['mar@10']:.3f} and {backbone['recall@1']:.3f}."
            )
            draw_sheet(examples, heading, summary).save(self._folder.sheet, optimize=True)
            page = render_page(heading, summary, report.rows(), examples)
            self._folder.page.write_text(page, encoding="utf-8")
        self._folder.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
        print_report(report)
        note(f"\nWritten: {self._folder.report}, {self._folder.page}, {self._folder.sheet}")
        return report.problems()
