"""The few kinds of panels that the dashboards are made of, and the frame around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
_SOFT_MAXIMUM = {"percentunit": 0.01, "none": 1, "short": 1, "reqps": 1}
_STAT_HEIGHT, _LINES_HEIGHT, _WIDTH = 4, 8, 24


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and how its series are named.

    ``$namespace`` and ``$__rate_interval`` stand for what the reader chooses.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Lines:
    """Values over time."""

    title: str
    what: str
    """What is seen, and what is to be seen in it."""
    queries: Sequence[Query]
    unit: str
    stacked: bool = False
    width: int = 12
    maximum: float | None = None
    exemplars: bool = False
    limit: float | None = None
    """A line that values should stay below."""


@dataclass(frozen=True)
class Figure:
    """One number."""

    title: str
    what: str
    query: Query
    unit: str
    bad_above: float | None = None
    bad_below: float | None = None
    width: int = 4
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: Sequence[Lines | Figure]


@dataclass(frozen=True)
class Page:
    """A dashboard."""

    uid: str
    title: str
    what: str
    rows: Sequence[Row]


def build(page: Page, others: Sequence[Page]) -> dashboard.Dashboard:
    """Returns the dashboard of a page, with links to the other ones."""
    board = (
        dashboard.Dashboard(f"Lookalike / {page.title}")
        .uid(page.uid)
        .description(page.what)
        .tags(["lookalike"])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(SOURCE)
            .query("label_values(lookalike_build_info, namespace)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .multi(True)
        )
    )
    for other in others:
        if other is not page:
            link = dashboard.DashboardLink(other.title).type(models.DashboardLinkType.LINK)
            board.link(link.url(f"/d/{other.uid}").keep_time(True).include_vars(True))
    top, numbers = 0, count(1)
    for row in page.rows:
        top = _add(board, row, top, numbers)
    return board


def _add(board: dashboard.Dashboard, row: Row, top: int, numbers: Iterator[int]) -> int:
    place = models.GridPos(h=1, w=_WIDTH, x=0, y=top)
    board.with_row(dashboard.Row(row.title).id(next(numbers)).grid_pos(place))
    left, top, height = 0, top + 1, 0
    for panel in row.panels:
        if left + panel.width > _WIDTH:
            left, top = 0, top + height
        height = _LINES_HEIGHT if isinstance(panel, Lines) else _STAT_HEIGHT
        built = _lines(panel) if isinstance(panel, Lines) else _figure(panel)
        place = models.GridPos(h=height, w=panel.width, x=left, y=top)
        board.with_panel(built.id(next(numbers)).grid_pos(place))
        left += panel.width
    return top + height


def _targets(queries: Sequence[Query], exemplars: bool = False) -> list[prometheus.Dataquery]:
    targets = []
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = (
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(letter)
        )
        targets.append(target.exemplar(exemplars))
    return targets


def _lines(panel: Lines) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.what)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .fill_opacity(25 if panel.stacked else 5)
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .targets(list(_targets(panel.queries, panel.exemplars)))
    )
    # A flat zero is drawn as such, and not on a scale up to 100.
    if panel.unit in _SOFT_MAXIMUM:
        built.axis_soft_max(_SOFT_MAXIMUM[panel.unit])
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if panel.maximum is not None:
        built.max(panel.maximum)
    if panel.limit is not None:
        built.thresholds(_thresholds(None, panel.limit))
        style = common_models.GraphTresholdsStyleMode.DASHED
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    return built


def _figure(panel: Figure) -> stat.Panel:
    built = (
        stat.Panel()
        .title(panel.title)
        .description(panel.what)
        .datasource(SOURCE)
        .unit(panel.unit)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .thresholds(_thresholds(panel.bad_below, panel.bad_above))
        .targets(list(_targets([panel.query])))
    )
    return built if panel.decimals is None else built.decimals(panel.decimals)


def _thresholds(bad_below: float | None, bad_above: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green" if bad_below is None else "red")]
    if bad_below is not None:
        steps.append(models.Threshold(value=bad_below, color="green"))
    if bad_above is not None:
        steps.append(models.Threshold(value=bad_above, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
