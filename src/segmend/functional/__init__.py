"""Pure tensor maths: no state, no files, no modules. Losses come back unreduced, so that selecting,
weighting and averaging voxels stay separate decisions.
"""
