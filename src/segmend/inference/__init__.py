"""From a predictor of small windows to the segmentation of a whole scan; a predictor is any callable."""

from segmend.functional.morphology import largest_component as largest_component
from segmend.functional.resampling import resample_argmax as resample_argmax
from segmend.functional.resampling import resample_map as resample_map
from segmend.inference.predictors import Predictor as Predictor
from segmend.inference.predictors import flip_averaged as flip_averaged
from segmend.inference.predictors import predict_slices as predict_slices
from segmend.inference.predictors import tempered as tempered
from segmend.inference.slabs import Slab as Slab
from segmend.inference.sliding_window import predict_classes as predict_classes
from segmend.inference.sliding_window import predict_probabilities as predict_probabilities
from segmend.inference.sliding_window import sliding_window as sliding_window
from segmend.inference.windows import Weighting as Weighting
from segmend.inference.windows import window_starts as window_starts
