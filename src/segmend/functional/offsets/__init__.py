"""Boundary offsets of labels.

In the order in which they are used: ``surfaces`` finds the surfaces of a label and shifts them, ``estimate`` measures
the offset of one surface from its ``profile``, ``correction`` subtracts the model's bias and shrinks the offsets of all
labels by the statistics of ``shrinkage``, and ``reliability`` says how often each label should be sampled.
"""
