"""From a folder to a package in one go: look at the data, plan, train within a time, export."""
