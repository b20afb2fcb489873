"""The verbs as Python calls, with the words of the command line.

Wherever a data set is wanted, an object of :mod:`abbe.datasets`, a folder, or the keys of the
section ``data`` of the experiment file may be given; wherever a run, a target store or a package is
wanted, the object or its folder. What a verb works on goes by position, the rest by name.
"""
