"""Pure tensor maths: no state, no files, no modules. Losses are returned unreduced, so that selecting, weighting and
averaging voxels stay separate decisions.
"""
