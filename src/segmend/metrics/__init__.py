"""Quality of a segmentation: overlap, surface distances, scores of cases, and tests of a difference."""

from segmend.metrics.boxplot import draw_boxplot
from segmend.metrics.evaluation import Score, Status, score_case, score_masks
from segmend.metrics.overlap import dice, jaccard, mean_dice, ravd, threshold_dice
from segmend.metrics.results import read_table, summarise, to_table
from segmend.metrics.statistics import compare
from segmend.metrics.surface import SurfaceDistances, asd, assd, hd95, mssd, nsd, surface_distances

__all__ = [
    "Score",
    "Status",
    "SurfaceDistances",
    "asd",
    "assd",
    "compare",
    "dice",
    "draw_boxplot",
    "hd95",
    "jaccard",
    "mean_dice",
    "mssd",
    "nsd",
    "ravd",
    "read_table",
    "score_case",
    "score_masks",
    "summarise",
    "surface_distances",
    "threshold_dice",
    "to_table",
]
