"""Pure mathematics: no state, no files, no modules. Losses are returned unreduced, so that selecting, weighting and
averaging voxels stay separate decisions.

Almost everything takes and returns tensors on any device. NumPy, SciPy, scikit-image or scikit-learn compute on the CPU
in ``morphology``, ``offsets``, ``selection`` (mixtures of Gaussians), ``superpixels``, and the part of ``resampling``
that takes arrays.

Functions of equal arguments give equal results, but for those that draw at random, from torch's global generator:
``perturbations.clipped_gaussian``, ``perturbations.beta_shares``, ``views.random_views`` and ``geometry.random_turn``.
"""
