"""Which labels are wrong, where and how: what the probabilities of a model that never saw a label say about it.

``evidence`` holds the probabilities, ``calibration`` makes them honest, ``examination`` sets a label beside them,
``expectation`` and ``scores`` say how far the two are apart, ``offset`` by how much a boundary was drawn too wide or
too tight, ``regions`` and ``kinds`` what is wrong where, ``proposal`` what would be right. ``checks`` needs no model,
``annotators`` compares people. ``folder`` names the files of an audit.
"""
