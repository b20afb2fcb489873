"""Published tables, item by item: the paper's figure beside ours.

A table is declared in `abbe.reproducing.tables`; declaring, finding files and planning load no
torch.
"""
